package subject

import (
	"strconv"
	"strings"
)

// The first tokens of all subjects of the product. answer.go refuses reply subjects that begin with one of them.
const (
	lamplight    = "lamplight"
	presence     = "presence"
	omnipresence = "omnipresence"
)

// Subscriptions that cover one kind of document, with wildcards in place of outside names.
const (
	AnySubscription        = "omnipresence.subscribe.*.*" // subscription: realm, user
	AnySubscriptionOfRealm = "presence.subscriptions.*"   // subscription: realm
	AnyDialogUpdate        = "presence.dialog.*.*"        // dialog_update: realm, Call-ID
	AnyUpdate              = "presence.update.*.*"        // update: realm, Call-ID
	AnyMailboxUpdate       = "presence.mwi_updates.*.*"   // mwi_update: realm, user
	AnyWatcherReply        = "omnipresence.notify.*.*"    // notify: realm, user
	AnySearch              = "presence.search_req.*"      // search_req: realm
	AnyShow                = "presence.show.*.*"          // show_req: realm, user
	AnySet                 = "presence.set.*.*"           // set: realm, user
	AnyReset               = "presence.reset.*.*"         // reset: realm, user
	AnyProbe               = "presence.probes.*"          // probe: event package
	AnyEdgeUp              = "lamplight.edge.up.*"        // edge
	AnyNotified            = "lamplight.notified.*.*"     // node, edge
	AnyNotify              = "lamplight.notify.*"         // edge
	AnyState               = "lamplight.state.*.*"        // realm, user
	AnyNode                = "lamplight.node.*"           // node
	AnyAnswers             = "lamplight.answers.*.*"      // node, number of the message that is answered
	AnyClaims              = "lamplight.claims.*"         // number of the journal's stream
	AnyRecord              = "lamplight.journal.>"        // number of the stream, then what the journal keeps
	Status                 = "lamplight.status"           // the state of the cluster, asked of all nodes
)

// All lists every subject of the product, for tests that compare it with the contract and with permissions.
func All() []string {
	return []string{AnySubscription, AnySubscriptionOfRealm, AnyDialogUpdate, AnyUpdate, AnyMailboxUpdate, AnyWatcherReply,
		AnySearch, AnyShow, AnySet, AnyReset, AnyProbe, AnyEdgeUp, AnyNotified, AnyNotify, AnyState, AnyNode, AnyAnswers,
		AnyClaims, AnyRecord, Status}
}

// AnyEdge is the edge name under which NOTIFYs of subscriptions travel that name no edge.
const AnyEdge = "any"

// Subscription is where a subscription document about user@realm goes.
func Subscription(realm, user string) string { return of(AnySubscription, realm, user) }

// DialogUpdate is where a dialog_update document about a call in the realm goes.
func DialogUpdate(realm, callID string) string { return of(AnyDialogUpdate, realm, callID) }

// Update is where an update document about a call or register in the realm goes.
func Update(realm, callID string) string { return of(AnyUpdate, realm, callID) }

// MailboxUpdate is where an mwi_update document about the mailbox of user@realm goes.
func MailboxUpdate(realm, user string) string { return of(AnyMailboxUpdate, realm, user) }

// WatcherReply is where a notify document, a watcher's answer to a NOTIFY about user@realm, goes.
func WatcherReply(realm, user string) string { return of(AnyWatcherReply, realm, user) }

// Search asks for all subscriptions of a realm.
func Search(realm string) string { return of(AnySearch, realm) }

// Show asks for one extension.
func Show(realm, user string) string { return of(AnyShow, realm, user) }

// Set sets the manual state of an extension.
func Set(realm, user string) string { return of(AnySet, realm, user) }

// Reset resets an extension, or with the user * the whole realm.
func Reset(realm, user string) string { return of(AnyReset, realm, user) }

// Probe asks for the present state of an extension as an update document.
func Probe(eventPackage string) string { return of(AnyProbe, eventPackage) }

// EdgeUp is where an edge says that it lives and what it has seen.
func EdgeUp(edge string) string { return of(AnyEdgeUp, edge) }

// Notified is where an edge tells a node what the watchers answered.
func Notified(node, edge string) string { return of(AnyNotified, node, edge) }

// NotifiedTo covers what all edges tell one node.
func NotifiedTo(node string) string { return strings.TrimSuffix(Notified(node, "e"), "e") + "*" }

// Notify is where the NOTIFYs for the watchers behind an edge go.
func Notify(edge string) string { return of(AnyNotify, edge) }

// State is where the changes of the lamp of user@realm go.
func State(realm, user string) string { return of(AnyState, realm, user) }

// StateOfRealm covers the changes of all lamps of a realm.
func StateOfRealm(realm string) string { return strings.TrimSuffix(State(realm, "u"), "u") + "*" }

// Node is where the other nodes send their calls to a node.
func Node(node string) string { return of(AnyNode, node) }

// Answers is what the subjects begin with at which a node hears the answers to its calls: a number follows.
func Answers(node string) string { return strings.TrimSuffix(of(AnyAnswers, node, "0"), "0") }

// Claims is where the nodes tell each other leases and claims of one of the journal's streams.
func Claims(stream int) string { return of(AnyClaims, strconv.Itoa(stream)) }

// Records is what the subjects of all messages of one of the journal's streams begin with.
func Records(stream int) string {
	return strings.TrimSuffix(AnyRecord, ">") + strconv.Itoa(stream) + "."
}

// The kinds of messages below Records besides records: docs/contract/journal.md, "Records".
const (
	AnyLease = "lease.*"
	AnyClaim = "*.claim"
)

// Lease is a node's heartbeat, below Records.
func Lease(node string) string { return of(AnyLease, node) }

// Claim says who owns a shard, below Records.
func Claim(shard int) string { return of(AnyClaim, strconv.Itoa(shard)) }

// of puts encoded names in the place of a pattern's wildcards.
func of(pattern string, names ...string) string {
	b := make([]byte, 0, len(pattern)+64)
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

// Last is the last token of a subject, as it stands there.
func Last(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// Prefix is what all subjects of an installation begin with: empty, or tokens that each end with a dot.
type Prefix string

// Of puts the prefix in front of a subject.
func (p Prefix) Of(subject string) string { return string(p) + subject }

// Cut takes the prefix off a subject that has it.
func (p Prefix) Cut(subject string) string { return strings.TrimPrefix(subject, string(p)) }
