// Package witness has only tests: user agents and tools of others watch lamps and publish calls at an edge, so that not only our own code
// says that the edge is right. SIPp plays phones and their faults, JsSIP and SIP.js subscribe over WebSocket, baresip and linphonec are
// softphones, Kamailio is a proxy and a publisher, OpenSSL publishes over TLS, and tshark decodes what went over the wire. Each test says what it needs; where CI is
// set, it must be there (tools/need).
package witness
