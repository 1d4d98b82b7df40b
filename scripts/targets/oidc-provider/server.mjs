// A real OAuth 2 authorization server for the tests of the oauth connector:
// node-oidc-provider with its own introspection (RFC 7662), revocation (RFC
// 7009) and client credentials, and beside it what the standards leave to each
// vendor: an admin route over the server's own tokens, of the shape of Microsoft
// Graph's oauth2PermissionGrants, and a resource that wants a scope.
//
// usage: node server.mjs DIR ADDR LOG   (DIR holds node_modules)
// Secrets come from CASEMENT_OIDC_SECRET (client "casement") and
// CASEMENT_OIDC_ADMIN (bearer token of the admin route).
import { AsyncLocalStorage } from 'node:async_hooks';
import { createHash } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [dir, addr, log] = process.argv.slice(2);
const [host, port] = addr.split(':');
const { default: Provider } = await import(pathToFileURL(`${dir}/node_modules/oidc-provider/lib/index.js`));

const scopes = ['contacts.read', 'mail.readwrite', 'files.all', 'admin.all'];
const client = (id, secret, grants, scope) => ({
  client_id: id, client_secret: secret, grant_types: grants, redirect_uris: [], response_types: [], scope,
});
const provider = new Provider(`http://${addr}`, {
  scopes,
  ttl: { ClientCredentials: 3600 },
  clients: [
    client('casement', process.env.CASEMENT_OIDC_SECRET, []),
    client('crm-sync', 'crm-sync-own-secret', ['client_credentials'], scopes.join(' ')),
  ],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true, allowedPolicy: async (_ctx, by, token) => by.clientId === 'casement' || by.clientId === token.clientId },
  },
});

// grants by id: the first half of the SHA-256 of the token, which is no secret.
const grants = new Map();
const request = new AsyncLocalStorage();
const idOf = (token) => createHash('sha256').update(token).digest('hex').slice(0, 32);
provider.on('client_credentials.saved', (t) => grants.set(idOf(t.jti), t.jti));
provider.on('client_credentials.destroyed', () => { const r = request.getStore(); if (r) r.changed = true; });

const bearer = (ctx) => (ctx.get('authorization').startsWith('Bearer ') ? ctx.get('authorization').slice(7) : '');

async function body(ctx) {
  const parts = [];
  for await (const p of ctx.req) parts.push(p);
  return JSON.parse(Buffer.concat(parts).toString());
}

async function admin(ctx, id) {
  if (bearer(ctx) !== process.env.CASEMENT_OIDC_ADMIN) { ctx.status = 401; return; }
  const token = grants.has(id) && await provider.ClientCredentials.find(grants.get(id));
  if (!token) { ctx.status = 404; return; }
  const etag = () => `"${idOf(token.scope ?? '')}"`;
  if (ctx.method === 'PATCH') {
    if (ctx.get('if-match') && ctx.get('if-match') !== etag()) { ctx.status = 412; return; }
    const { scope } = await body(ctx);
    if (typeof scope !== 'string' || !scope.split(' ').every((s) => scopes.includes(s))) { ctx.status = 400; return; }
    token.client = await provider.Client.find(token.clientId);
    token.format = 'opaque';
    token.scope = scope;
    await token.save();
    const r = request.getStore();
    if (r) r.changed = true;
  } else if (ctx.method !== 'GET') { ctx.status = 405; return; }
  ctx.set('ETag', etag());
  ctx.body = { id, clientId: token.clientId, scope: token.scope ?? '' };
}

async function resource(ctx) {
  const token = await provider.ClientCredentials.find(bearer(ctx));
  if (!token || token.isExpired) { ctx.status = 401; return; }
  if (!(token.scope ?? '').split(' ').includes(ctx.query.scope)) { ctx.status = 403; return; }
  ctx.body = { hello: token.clientId };
}

provider.use(async (ctx, next) => {
  const r = { changed: false };
  try {
    await request.run(r, async () => {
      if (ctx.path.startsWith('/admin/grants/')) await admin(ctx, decodeURIComponent(ctx.path.slice('/admin/grants/'.length)));
      else if (ctx.path === '/resource') await resource(ctx);
      else await next();
    });
  } finally {
    appendFileSync(log, `${ctx.method} ${ctx.path} ${ctx.status} ${r.changed ? 'changed' : '-'} ${JSON.stringify(ctx.get('user-agent'))}\n`);
  }
});
provider.listen(Number(port), host);
