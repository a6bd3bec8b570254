// A switch whose half of the event socket is modesl's: its parser reads the commands, and its events are what is written. It prints the
// port on which it listens. Each line of its input is an object: {"fire": {headers}} sends an event, {"channel": {headers}} makes or
// changes a channel and sends its CHANNEL_CALLSTATE, {"cut": true} ends the connections.
const net = require('net');
const readline = require('readline');
const { Event } = require('modesl');
const Parser = require('modesl/lib/esl/Parser');

const core = 'b0a7c0de-0000-4000-8000-000000000001';
const channels = {};
const sockets = new Set();
let sequence = 0;

function frame(socket, headers, body) {
  const text = new Event(headers, body || '').serialize('plain');
  socket.write(body ? text : text + '\n');
}
function event(name, headers) {
  return new Event({ 'Event-Name': name, 'Core-UUID': core, 'FreeSWITCH-IPv4': '10.1.1.1', 'Event-Date-Timestamp': String(Date.now() * 1000),
    'Event-Sequence': String(++sequence), ...headers });
}
function fire(name, headers) {
  const body = event(name, headers).serialize('json');
  for (const s of sockets) if (s.listens) frame(s, { 'Content-Type': 'text/event-json' }, body);
}
function api(command) {
  const [verb, ...words] = command.split(' ');
  if (command === 'global_getvar core_uuid') return core;
  if (command === 'global_getvar local_ip_v4') return '10.1.1.1';
  if (command === 'show channels as json') {
    const rows = Object.values(channels).map((c) => ({ uuid: c['Unique-ID'], direction: c['Call-Direction'], callstate: c['Channel-Call-State'], presence_id: c['Channel-Presence-ID'] }));
    return JSON.stringify({ row_count: rows.length, rows });
  }
  if (verb === 'uuid_dump' && channels[words[0]]) return event('CHANNEL_DATA', channels[words[0]]).serialize('json');
  return verb === 'uuid_dump' ? '-ERR No such channel!\n' : '-ERR no such command\n';
}

const server = net.createServer((socket) => {
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
  socket.on('error', () => {});
  const parser = new Parser(socket);
  parser.on('esl::event', (e) => {
    const line = e.headers[0].name;
    const [verb] = line.split(' ');
    if (verb === 'auth') frame(socket, { 'Content-Type': 'command/reply', 'Reply-Text': line === 'auth ' + process.env.PASSWORD ? '+OK accepted' : '-ERR invalid' });
    else if (verb === 'event') {
      socket.listens = true;
      frame(socket, { 'Content-Type': 'command/reply', 'Reply-Text': '+OK event listener enabled json' });
    } else if (verb === 'api') frame(socket, { 'Content-Type': 'api/response' }, api(line.slice(4)));
    else frame(socket, { 'Content-Type': 'command/reply', 'Reply-Text': '-ERR command not found' });
  });
  frame(socket, { 'Content-Type': 'auth/request' });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
setInterval(() => fire('HEARTBEAT', { 'Event-Info': 'System Ready' }), 100);

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const c = JSON.parse(line);
  if (c.fire) fire(c.fire['Event-Name'], c.fire);
  if (c.cut) for (const s of sockets) s.destroy();
  if (c.channel) {
    const id = c.channel['Unique-ID'];
    channels[id] = { ...channels[id], ...c.channel };
    const is = channels[id];
    if (is['Channel-Call-State'] === 'HANGUP') delete channels[id];
    if (!c.quiet) fire('CHANNEL_CALLSTATE', is);
  }
}).on('close', () => process.exit(0));
