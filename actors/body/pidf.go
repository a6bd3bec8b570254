package body

// AppendPIDF appends an application/pidf+xml document (RFC 3863 §4). A presentity that talks is on the phone (RFC 4480 §3.2);
// one that only rings has no activity.
func AppendPIDF(dst []byte, p PIDF) []byte {
	dst = append(dst, XMLHead+`<presence xmlns="urn:ietf:params:xml:ns:pidf"`+
		` xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="`...)
	dst = appendURI(dst, p.Entity)
	dst = append(dst, "\">\n<tuple id=\"t1\"><status><basic>"...)
	if p.Closed {
		dst = append(dst, "closed"...)
	} else {
		dst = append(dst, "open"...)
	}
	dst = append(dst, "</basic></status><contact>"...)
	dst = appendURI(dst, p.Entity)
	dst = append(dst, "</contact></tuple>\n"...)
	if p.State == "confirmed" {
		dst = append(dst, "<dm:person id=\"p1\"><rpid:activities><rpid:on-the-phone/></rpid:activities></dm:person>\n"...)
	}
	return append(dst, "</presence>\n"...)
}
