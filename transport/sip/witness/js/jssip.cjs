// Subscribes with JsSIP to 1001's dialog and message-summary over WebSocket, as 1002, and prints what it is told: one JSON object a line.
// Each line of standard input ends a subscription: the name of its event package.
globalThis.WebSocket = require('ws');
const JsSIP = require('jssip');
const print = (o) => console.log(JSON.stringify(o));
const ua = new JsSIP.UA({
  sockets: [new JsSIP.WebSocketInterface(process.env.SERVER)],
  uri: 'sip:1002@acme.example.com', authorization_user: '1002', password: 'secret', register: false, session_timers: false,
});
const accept = { dialog: 'application/dialog-info+xml', 'message-summary': 'application/simple-message-summary' };
const subscribers = {};
ua.on('connected', () => {
  for (const event of Object.keys(accept)) {
    const s = subscribers[event] = ua.subscribe('sip:1001@acme.example.com', event, accept[event], { expires: 120 });
    s.on('accepted', () => print({ event, what: 'accepted' }));
    s.on('notify', (final, request, body) => print({ event, what: 'notify', final, body, cseq: request.cseq }));
    s.on('terminated', (code, reason) => print({ event, what: 'terminated', code, reason }));
    s.subscribe();
  }
});
ua.on('disconnected', () => process.exit(1));
require('readline').createInterface({ input: process.stdin }).on('line', (event) => subscribers[event].terminate()).on('close', () => process.exit(0));
ua.start();
