// Subscribes with SIP.js to 1001's dialog and message-summary over WebSocket, as 1003, and prints what it is told: one JSON object a line.
// Each line of standard input ends a subscription: the name of its event package.
globalThis.WebSocket = require('ws');
const { UserAgent, Subscriber } = require('sip.js');
const print = (o) => console.log(JSON.stringify(o));
const subscribers = {};
(async () => {
  const ua = new UserAgent({
    uri: UserAgent.makeURI('sip:1003@acme.example.com'), transportOptions: { server: process.env.SERVER },
    authorizationUsername: '1003', authorizationPassword: 'secret', logLevel: 'error', sessionDescriptionHandlerFactory: () => ({}),
  });
  await ua.start();
  for (const event of ['dialog', 'message-summary']) {
    const s = subscribers[event] = new Subscriber(ua, UserAgent.makeURI('sip:1001@acme.example.com'), event, { expires: 120 });
    s.delegate = {
      onNotify: (n) => {
        n.accept();
        print({ event, what: 'notify', body: n.request.body, cseq: n.request.cseq, state: n.request.getHeader('Subscription-State') });
      },
    };
    s.stateChange.addListener((state) => print({ event, what: state === 'Subscribed' ? 'accepted' : state.toLowerCase() }));
    await s.subscribe();
  }
})().catch((e) => { print({ what: 'failed', error: String(e) }); process.exit(1); });
require('readline').createInterface({ input: process.stdin }).on('line', (event) => subscribers[event].unsubscribe()).on('close', () => process.exit(0));
