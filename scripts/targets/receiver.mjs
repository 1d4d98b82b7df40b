// A real receiver of signed webhooks for the tests of the webhook connector: a
// process of its own that shares no code with Casement. It checks signatures as
// standardwebhooks.com says, acts once per webhook-id, and writes down every
// arrival, repeats too, before it answers.
//
// usage: node receiver.mjs ADDR LOG
// Secrets come from CASEMENT_RECEIVER_SIGNING (whsec_…) and
// CASEMENT_RECEIVER_STATE (bearer token of GET /state). How old a message may be
// is not checked: tests move Casement's clock.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';

const [addr, log] = process.argv.slice(2);
const [host, port] = addr.split(':');
const key = Buffer.from(process.env.CASEMENT_RECEIVER_SIGNING.replace(/^whsec_/, ''), 'base64');

const states = new Map(); // by asset; what nobody changed is open
const seen = new Set();
const stateOf = (asset) => states.get(asset) ?? 'open';

function signed(req, body) {
  const [id, at] = [req.headers['webhook-id'], req.headers['webhook-timestamp']];
  if (!id || !at) return false;
  const want = createHmac('sha256', key).update(`${id}.${at}.${body}`).digest();
  return (req.headers['webhook-signature'] ?? '').split(' ').some((s) => {
    const got = Buffer.from(s.replace(/^v1,/, ''), 'base64');
    return s.startsWith('v1,') && got.length === want.length && timingSafeEqual(got, want);
  });
}

function answer(req, body) {
  const url = new URL(req.url, `http://${addr}`);
  if (req.method === 'GET' && url.pathname === '/state') {
    if (req.headers.authorization !== `Bearer ${process.env.CASEMENT_RECEIVER_STATE}`) return [401, {}];
    return [200, { status: stateOf(url.searchParams.get('asset')) }];
  }
  if (req.method === 'PUT' && url.pathname === '/state') { // somebody else, behind Casement's back
    states.set(url.searchParams.get('asset'), body);
    return [200, {}];
  }
  const to = { '/act': 'isolated', '/undo': 'open' }[url.pathname];
  if (req.method !== 'POST' || !to) return [404, {}];
  if (!signed(req, body)) return [401, {}];
  const { data } = JSON.parse(body);
  const id = req.headers['webhook-id'];
  const repeat = seen.has(id);
  appendFileSync(log, `${JSON.stringify({ path: url.pathname, id, repeat, case: data.case, asset: data.asset.uid, agent: req.headers['user-agent'] })}\n`);
  if (!repeat) {
    seen.add(id);
    states.set(data.asset.uid, to);
  }
  return [200, { repeat }];
}

createServer((req, res) => {
  const parts = [];
  req.on('data', (p) => parts.push(p));
  req.on('end', () => {
    let out;
    try { out = answer(req, Buffer.concat(parts).toString()); } catch (e) { out = [400, { error: String(e) }]; }
    res.writeHead(out[0], { 'content-type': 'application/json' }).end(JSON.stringify(out[1]));
  });
}).listen(Number(port), host);
