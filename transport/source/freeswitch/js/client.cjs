// A client of the event socket with modesl: it writes what it hears of the server at $SERVER (HOST:PORT) as JSON, one object a line.
// It asks for the status and the channels, fires an event, which comes back to it, and ends with the line "exit" on its input.
const esl = require('modesl');
const [host, port] = process.env.SERVER.split(':');
const say = (what, more) => console.log(JSON.stringify({ what, ...more }));

const format = process.env.FORMAT;
const wrong = new esl.Connection(host, port, 'not the password');
wrong.on('esl::event::auth::fail', (e) => say('refused', { text: e.getHeader('Reply-Text') }));
wrong.on('error', () => {});

const conn = new esl.Connection(host, port, process.env.PASSWORD, () => {
  say('authenticated');
  conn.events(format, ['HEARTBEAT', 'CHANNEL_CALLSTATE', 'PRESENCE_IN', 'CUSTOM sofia::register'], () => {
    conn.api('status', (e) => {
      say('status', { text: e.getBody() });
      conn.api('show', 'channels as json', (e) => {
        say('channels', JSON.parse(e.getBody()));
        const own = new esl.Event('PRESENCE_IN');
        own.addHeader('proto', 'flow');
        own.addHeader('from', '333@acme.example.com');
        conn.sendEvent(own, (e) => say('sent', { text: e.getHeader('Reply-Text') }));
      });
    });
  });
});
conn.on('esl::event::**', (e) => {
  if (e.getHeader && e.getHeader('Event-Name')) {
    say('event', { name: e.getHeader('Event-Name'), core: e.getHeader('Core-UUID'), state: e.getHeader('Channel-Call-State'),
      from: e.getHeader('from'), far: e.getHeader('Caller-Caller-ID-Name'), contact: e.getHeader('contact') });
  }
});
conn.on('error', (e) => say('failed', { text: String(e) }));
process.stdin.on('end', () => process.exit(0)).resume();
