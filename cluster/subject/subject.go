package subject

import (
	"strconv"
	"strings"
)

// The subjects that a receiver subscribes to, one for each kind of document. Wildcards stand in place of outside names;
// the comments say which names.
const (
	AnySubscription        = "omnipresence.subscribe.*.*"    // subscription: realm, user
	AnySubscriptionOfRealm = "presence.subscriptions.*"      // subscription: realm
	AnyDialogUpdate        = "presence.dialog.*.*"           // dialog_update: realm, Call-ID
	AnyUpdate              = "presence.update.*.*"           // update: realm, Call-ID
	AnyMailboxUpdate       = "presence.mwi_updates.*.*"      // mwi_update: realm, user
	AnyRegistration        = "registration.success.*.*"      // reg_success: realm, user
	AnyPublication         = "presence.publications.*.*"     // publication: realm, user
	AnyWatcherReply        = "omnipresence.notify.*.*"       // notify: realm, user
	AnySearch              = "presence.search_req.*"         // search_req: realm
	AnyShow                = "presence.show.*.*"             // show_req: realm, user
	AnySet                 = "presence.set.*.*"              // set: realm, user
	AnyReset               = "presence.reset.*.*"            // reset: realm, user
	AnyProbe               = "presence.probes.*"             // probe: event package
	SwitchGone             = "presence.switch_gone"          // switch_gone: ends the calls of a switch, of all realms
	AnySourceUp            = "lamplight.source.up.*"         // source
	AnyEdgeUp              = "lamplight.edge.up.*"           // edge
	AnyNotified            = "lamplight.notified.*.*"        // node, edge
	AnyNotify              = "lamplight.notify.*"            // edge
	AnyWatched             = "lamplight.watched.*.*.*"       // event package, realm, user
	AnyState               = "lamplight.state.*.*"           // realm, user
	AnyAudit               = "lamplight.audit.extension.*.*" // realm, user; the user * stands for all of the realm
	AnyAuditSwitch         = "lamplight.audit.switch.*"      // Switch-URI
	AnyAuditAccount        = "lamplight.audit.account.*"     // account id
	AnyReport              = "lamplight.reports.*"           // account id
	AnyNode                = "lamplight.node.*"              // node
	AnyAnswers             = "lamplight.answers.*.*"         // node, then 0; or, when nobody received a message, its number
	AnyClaims              = "lamplight.claims.*"            // number of the journal's stream
	AnyRecord              = "lamplight.journal.>"           // number of the journal's stream, then a record, lease or claim
	AnyCredentials         = "lamplight.credentials.*.*"     // asks whether a phone may log in: realm, user; with the user *, whether the realm is known
	EdgeSecret             = "lamplight.edge.secret"         // asks for the secret that all edges share
	Status                 = "lamplight.status"              // asks every node for its status
	Detail                 = "lamplight.detail"              // asks every node for its status with names: of extensions whose watchers lag, of accounts that use most
	LogLevel               = "lamplight.log_level"           // asks every node, or one, for the levels of its log, or changes them
)

// All lists every subject of the product. Tests compare the list with the contract and with the permissions of nodes,
// edges and control programs.
func All() []string {
	return []string{AnySubscription, AnySubscriptionOfRealm, AnyDialogUpdate, AnyUpdate, AnyMailboxUpdate, AnyRegistration, AnyPublication, AnyWatcherReply,
		AnySearch, AnyShow, AnySet, AnyReset, AnyProbe, SwitchGone, AnySourceUp, AnyEdgeUp, AnyNotified, AnyNotify, AnyWatched, AnyState, AnyAudit, AnyAuditSwitch, AnyAuditAccount, AnyReport, AnyNode, AnyAnswers,
		AnyClaims, AnyRecord, AnyCredentials, EdgeSecret, Status, Detail, LogLevel}
}

// AnyEdge is the edge name for subscriptions that name no edge: their NOTIFYs go to Notify(AnyEdge), and so do those for watchers behind
// an edge that is down.
const AnyEdge = "any"

// Queue is the queue group of the nodes, and on Notify(AnyEdge) that of the SIP edges: NATS gives each message to one member.
const Queue = "lamplight"

// Subscription is the subject of a subscription document about user@realm.
func Subscription(realm, user string) string { return of(AnySubscription, realm, user) }

// DialogUpdate is the subject of a dialog_update document about a call in the realm.
func DialogUpdate(realm, callID string) string { return of(AnyDialogUpdate, realm, callID) }

// Update is the subject of an update document about a call or a register in the realm.
func Update(realm, callID string) string { return of(AnyUpdate, realm, callID) }

// MailboxUpdate is the subject of an mwi_update document about the mailbox of user@realm.
func MailboxUpdate(realm, user string) string { return of(AnyMailboxUpdate, realm, user) }

// Registration is the subject of a reg_success document: a phone of user@realm has registered, or is registered no more.
func Registration(realm, user string) string { return of(AnyRegistration, realm, user) }

// Publication is the subject of a publication document: a PUBLISH request about user@realm.
func Publication(realm, user string) string { return of(AnyPublication, realm, user) }

// WatcherReply is the subject of a notify document: a watcher's answer to a NOTIFY about user@realm.
func WatcherReply(realm, user string) string { return of(AnyWatcherReply, realm, user) }

// Search is the subject of a request for all subscriptions of a realm.
func Search(realm string) string { return of(AnySearch, realm) }

// Show is the subject of a request for the state of one extension.
func Show(realm, user string) string { return of(AnyShow, realm, user) }

// Set is the subject of a command that sets the manual state of an extension.
func Set(realm, user string) string { return of(AnySet, realm, user) }

// Reset is the subject of a command that resets an extension, or with the user * every extension of the realm.
func Reset(realm, user string) string { return of(AnyReset, realm, user) }

// Probe is the subject of a request for the state of an extension as an update document. The document names the
// extension.
func Probe(eventPackage string) string { return of(AnyProbe, eventPackage) }

// SourceUp is the subject on which a source of calls says that it lives, and which switch it tells of.
func SourceUp(source string) string { return of(AnySourceUp, source) }

// EdgeUp is the subject on which an edge says that it is up, and which notifications it has received.
func EdgeUp(edge string) string { return of(AnyEdgeUp, edge) }

// Notified is the subject on which an edge tells a node what the watchers answered.
func Notified(node, edge string) string { return of(AnyNotified, node, edge) }

// NotifiedTo is the subscription for Notified of one node, from all edges.
func NotifiedTo(node string) string { return strings.TrimSuffix(Notified(node, "e"), "e") + "*" }

// Credentials is the subject on which an edge asks for the credentials of a user of a realm, or with the user * whether the realm is
// known.
func Credentials(realm, user string) string { return of(AnyCredentials, realm, user) }

// Notify is the subject of the NOTIFYs for the watchers behind an edge.
func Notify(edge string) string { return of(AnyNotify, edge) }

// Watched is the subject on which a node says that user@realm has its first watcher of an event package.
func Watched(eventPackage, realm, user string) string {
	return of(AnyWatched, eventPackage, realm, user)
}

// State is the subject of the changes of the lamp of user@realm.
func State(realm, user string) string { return of(AnyState, realm, user) }

// Audit is the subject of the document that tells of a command to an extension, or with the user * to all of the realm.
func Audit(realm, user string) string { return of(AnyAudit, realm, user) }

// AuditAccount is the subject of the document that tells of a command about an account.
func AuditAccount(account string) string { return of(AnyAuditAccount, account) }

// Report is the subject under which the reports of an account's resets are kept.
func Report(account string) string { return of(AnyReport, account) }

// AuditSwitch is the subject of the document that tells of a command about a switch.
func AuditSwitch(switchURI string) string { return of(AnyAuditSwitch, switchURI) }

// StateOfRealm is the subscription for State of all extensions of a realm.
func StateOfRealm(realm string) string { return strings.TrimSuffix(State(realm, "u"), "u") + "*" }

// Node is the subject to which the other nodes send their calls for a node.
func Node(node string) string { return of(AnyNode, node) }

// Answers is what the subjects begin with on which a node receives the answers to its calls. A number follows.
func Answers(node string) string { return strings.TrimSuffix(of(AnyAnswers, node, "0"), "0") }

// Claims is the subject on which nodes tell each other the leases and claims of one of the journal's streams.
func Claims(stream int) string { return of(AnyClaims, strconv.Itoa(stream)) }

// Records is what the subjects of all messages of one of the journal's streams begin with. It ends with a dot.
func Records(stream int) string {
	return strings.TrimSuffix(AnyRecord, ">") + strconv.Itoa(stream) + "."
}

// The subjects below Records that are not records: docs/contract/journal.md, "Leases and claims".
const (
	AnyLease = "lease.*"
	AnyClaim = "*.claim"
	Mark     = "mark" // of the directory; in the first stream
)

// Lease is the subject of a node's heartbeat, below Records.
func Lease(node string) string { return of(AnyLease, node) }

// Claim is the subject of the claim that says who owns a range of shards, below Records.
func Claim(number int) string { return of(AnyClaim, strconv.Itoa(number)) }

// Slots is what the subjects of a range's slots begin with, below Records. It ends with a dot.
func Slots(number int) string { return strconv.Itoa(number) + ".log." }

// AnySlot is the filter for the slots of a range, below Records.
func AnySlot(number int) string { return Slots(number) + "*" }

// ParseSlot returns the range and the number of the slot that a subject below Records names.
func ParseSlot(s string) (number, slot int, ok bool) {
	first, rest, _ := strings.Cut(s, ".log.")
	number, err := strconv.Atoi(first)
	slot, wrong := strconv.Atoi(rest)
	ok = err == nil && wrong == nil && number >= 0 && slot >= 0 && Slots(number)+strconv.Itoa(slot) == s
	return number, slot, ok
}

// of returns the pattern with each * replaced by the next name, encoded as a token.
func of(pattern string, names ...string) string {
	var room [128]byte // for most subjects
	b := room[:0]
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '*' {
			b = AppendToken(b, names[0])
			names = names[1:]
			continue
		}
		b = append(b, pattern[i])
	}
	return string(b)
}

// Last returns the last token of a subject, still encoded.
func Last(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// Prefix is what all subjects of an installation begin with: empty, or tokens that each end with a dot.
type Prefix string

// MinPayload is how many bytes a NATS server must carry in one message (max_payload), of nodes, edges and bridges: the largest
// messages have 256 KiB before their heads, and one request between nodes may be as large as several documents.
const MinPayload = 512 << 10

// maxPrefix is how many bytes a prefix may have: what nodes tell each other by gossip has little room.
const maxPrefix = 64

// CheckPrefix returns why a text can't be the prefix of an installation, without or with the dot at its end; "": it can. The names of
// NATS streams and buckets are made from the prefix, which is why it has no other characters. Below the first tokens that replies
// have, every client may listen and make nodes publish.
func CheckPrefix(text string) string {
	if text == "" {
		return ""
	}
	text = strings.TrimSuffix(text, ".")
	first, _, _ := strings.Cut(text, ".")
	switch {
	case len(text) > maxPrefix:
		return "it must have at most " + strconv.Itoa(maxPrefix) + " bytes"
	case strings.Contains("."+text+".", ".."), strings.ContainsFunc(text, func(r rune) bool { return r != '.' && (r > 0x7f || !nameByte(byte(r))) }):
		return "it must be NATS subject tokens of the letters a to z and A to Z, digits, - and _, such as east or carrier.east"
	case strings.HasPrefix(first, inbox), strings.HasPrefix(first, "_R_"):
		return "its first token must not begin with _INBOX or _R_: those are the subjects of replies, on which every client may listen"
	}
	return ""
}

// nameByte says whether the name of a stream may have a byte.
func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// Of puts the prefix in front of a subject.
func (p Prefix) Of(subject string) string { return string(p) + subject }

// Cut takes the prefix off a subject that has it.
func (p Prefix) Cut(subject string) string { return strings.TrimPrefix(subject, string(p)) }
