// An authorization server for tests: the npm library oidc-provider, with users who need no password.
//
// Standard input: first a line of JSON, the settings; then a line for each command, {"do": …}. Standard output:
// a line of JSON for each of them. It ends when standard input does, so it cannot outlive who started it.
// It listens on the loopback and answers to no other name, since it lets in whoever says who he is.

import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose';
import { Provider, errors } from 'oidc-provider';
import { storage } from './storage.mjs';
import { addTokenExchange, EXCHANGE } from './exchange.mjs';

const HOST = '127.0.0.1';
const OPENID_SCOPES = ['openid', 'offline_access', 'profile'];
const state = { users: {}, resources: {}, exchange: {}, keys: [], dpopNonce: false };
let issuer;
let serve; // the provider's request handler; another one after each change of keys
let provider;

const resourceServer = (indicator) => {
  const resource = state.resources[indicator];
  if (!resource) throw new errors.InvalidTarget();
  return {
    scope: resource.scopes.join(' '),
    audience: indicator,
    accessTokenFormat: resource.opaque ? 'opaque' : 'jwt',
    ...(resource.opaque ? {} : { jwt: { sign: { alg: state.algorithm } } }),
  };
};

function claimsOf(name) {
  const user = state.users[name];
  return user && { preferred_username: name, roles: user.roles, ...user.claims };
}

function build() {
  const alg = state.algorithm;
  provider = new Provider(issuer, {
    adapter: storage,
    clients: state.clients,
    clientDefaults: { id_token_signed_response_alg: alg, introspection_signed_response_alg: alg },
    enabledJWA: { idTokenSigningAlgValues: [alg], introspectionSigningAlgValues: [alg] },
    jwks: { keys: structuredClone(state.keys) },
    cookies: { keys: ['signs nothing that matters'] },
    pkce: { required: () => true },
    scopes: [...OPENID_SCOPES, ...Object.values(state.resources).flatMap((resource) => resource.scopes)],
    claims: { openid: ['sub'], profile: ['preferred_username', 'roles'] },
    ttl: {
      AccessToken: state.seconds, ClientCredentials: state.seconds, AuthorizationCode: 60, IdToken: 300,
      RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600,
    },
    issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
    findAccount: (_, name) => state.users[name] && { accountId: name, claims: () => ({ sub: name, ...claimsOf(name) }) },
    extraTokenClaims: (ctx, token) => ({
      ...(token.accountId ? claimsOf(token.accountId) : {}),
      ...(ctx?.oidc?.actingClaim ? { act: ctx.oidc.actingClaim } : {}),
    }),
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 1), requireNonce: () => state.dpopNonce },
      introspection: { enabled: true, allowedPolicy: (_, client) => client.clientAuthMethod !== 'none' },
      jwtIntrospection: { enabled: true },
      registration: { enabled: true },
      revocation: { enabled: true, allowedPolicy: (_, client, token) => token.clientId === client.clientId },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, indicator) => resourceServer(indicator),
        useGrantedResource: () => true,
      },
    },
  });
  addTokenExchange(provider, state, claimsOf);
  provider.on('server_error', (_, error) => process.stderr.write(`${error.stack}\n`));
  serve = provider.callback();
}

// The login and consent pages, without pages: `login_hint` says who it is, and he consents to all he may have.
async function interact(request, response) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  let result;
  if (!state.users[params.login_hint]) {
    result = { error: 'access_denied', error_description: 'login_hint names no user' };
  } else if (prompt.name === 'login') {
    result = { login: { accountId: params.login_hint } };
  } else {
    const grant = grantId
      ? await provider.Grant.find(grantId)
      : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    const { missingOIDCScope = [], missingResourceScopes = {} } = prompt.details;
    const allowed = new Set([...OPENID_SCOPES, ...state.users[session.accountId].scopes]);
    const split = (scopes) => [true, false].map((may) => scopes.filter((scope) => allowed.has(scope) === may).join(' '));
    const [granted, refused] = split(missingOIDCScope);
    if (granted) grant.addOIDCScope(granted);
    if (refused) grant.rejectOIDCScope(refused);
    for (const [resource, scopes] of Object.entries(missingResourceScopes)) {
      const [there, notThere] = split(scopes);
      if (there) grant.addResourceScope(resource, there);
      if (notThere) grant.rejectResourceScope(resource, notThere);
    }
    result = { consent: { grantId: await grant.save() } };
  }
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

const server = createServer((request, response) => {
  if (!['127.0.0.1', 'localhost'].includes((request.headers.host ?? '').split(':')[0])) {
    response.writeHead(421).end();
  } else if (request.url.startsWith('/interaction/')) {
    interact(request, response).catch((error) => response.writeHead(400).end(String(error.message)));
  } else {
    serve(request, response);
  }
});

async function addKey() {
  const { privateKey } = await generateKeyPair(state.algorithm, { extractable: true });
  const jwk = await exportJWK(privateKey);
  const kid = (await calculateJwkThumbprint(jwk)).slice(0, 16);
  state.keys.unshift({ ...jwk, kid, alg: state.algorithm, use: 'sig' }); // the first one signs
}

const commands = {
  rotate: addKey,
  retire: () => state.keys.splice(1),
  change: ({ settings }) => Object.assign(state, settings),
};

async function start(settings) {
  Object.assign(state, settings);
  for (const client of state.clients) client.grant_types = client.grant_types.map((name) => name === 'exchange' ? EXCHANGE : name);
  await addKey();
  await new Promise((resolve) => server.listen(0, HOST, resolve));
  issuer = `http://${HOST}:${server.address().port}`;
}

let first = true;
for await (const line of createInterface({ input: process.stdin })) {
  const told = JSON.parse(line);
  if (first) await start(told);
  else await commands[told.do](told);
  first = false;
  build();
  process.stdout.write(`${JSON.stringify({ issuer, keys: state.keys.map((key) => key.kid) })}\n`);
}
process.exit(0);
