// OAuth 2.0 token exchange (RFC 8693), which the library leaves to its users: delegation, for confidential clients.
//
// `exchange` in the settings says who may: {"client id": {"from": [audiences], "to": [resources]}}. The answer is for
// one resource, has no scope that the subject's token lacks, lives no longer than it, and names the client in `act`.

import { createLocalJWKSet, jwtVerify } from 'jose';
import { errors } from 'oidc-provider';
import validateDpop, { checkDpopReplay } from 'oidc-provider/lib/helpers/validate_dpop.js'; // internal: hence the pin

export const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';
const MOST_SECONDS = 120;
const PARAMETERS = [
  'audience', 'resource', 'scope', 'requested_token_type', 'subject_token', 'subject_token_type', 'actor_token',
  'actor_token_type',
];

const list = (value) => (value === undefined ? [] : [].concat(value));
const words = (value) => (value ?? '').split(' ').filter(Boolean);

export function addTokenExchange(provider, state, claimsOf) {
  async function verified(token, what) {
    const jwks = createLocalJWKSet({ keys: state.keys.map(({ d, p, q, dp, dq, qi, ...open }) => open) });
    try {
      return (await jwtVerify(token, jwks, { issuer: provider.issuer, typ: 'at+jwt', algorithms: [state.algorithm] })).payload;
    } catch {
      const opaque = await provider.AccessToken.find(token);
      if (!opaque) throw new errors.InvalidGrant(`${what} is not valid`);
      return { sub: opaque.accountId, aud: opaque.aud, scope: opaque.scope, exp: opaque.exp, act: opaque.extra?.act };
    }
  }

  function targetOf(params, policy) {
    const targets = [...new Set([...list(params.resource), ...list(params.audience)])];
    if (targets.length !== 1) throw new errors.InvalidTarget('exactly one resource or audience, please');
    if (!policy.to.includes(targets[0])) throw new errors.InvalidTarget('this client may not go there');
    const resource = state.resources[targets[0]];
    return new provider.ResourceServer(targets[0], {
      scope: resource.scopes.join(' '),
      audience: targets[0],
      accessTokenFormat: resource.opaque ? 'opaque' : 'jwt',
      ...(resource.opaque ? {} : { jwt: { sign: { alg: state.algorithm } } }),
    });
  }

  function scopesOf(params, subject, target) {
    const held = new Set(words(subject.scope));
    const wanted = params.scope ? words(params.scope) : [...held].filter((scope) => target.scopes.has(scope));
    const excess = wanted.filter((scope) => !held.has(scope) || !target.scopes.has(scope));
    if (excess.length) throw new errors.InvalidScope('more than the subject token has', excess.join(' '));
    return wanted.join(' ');
  }

  async function exchange(ctx) {
    const { client, params } = ctx.oidc;
    const policy = state.exchange[client.clientId];
    if (!policy) throw new errors.AccessDenied('this client may not exchange tokens');
    if (![ACCESS_TOKEN, JWT].includes(params.subject_token_type)) throw new errors.InvalidRequest('subject_token_type');
    if (![ACCESS_TOKEN, JWT, undefined].includes(params.requested_token_type)) {
      throw new errors.InvalidRequest('requested_token_type');
    }
    if (params.actor_token && !params.actor_token_type) throw new errors.InvalidRequest('actor_token_type');
    const subject = await verified(params.subject_token, 'subject_token');
    if (!claimsOf(subject.sub)) throw new errors.InvalidGrant('subject_token names no user');
    if (!list(subject.aud).some((audience) => policy.from.includes(audience))) {
      throw new errors.InvalidGrant('subject_token is not for this client');
    }
    if (params.actor_token && (await verified(params.actor_token, 'actor_token')).sub !== client.clientId) {
      throw new errors.InvalidGrant('actor_token is not the client\'s');
    }
    const target = targetOf(params, policy);
    const scope = scopesOf(params, subject, target);
    const grant = new provider.Grant({ accountId: subject.sub, clientId: client.clientId });
    grant.addResourceScope(target.identifier(), scope);
    const token = new provider.AccessToken({
      accountId: subject.sub,
      client,
      grantId: await grant.save(),
      gty: 'token_exchange',
      expiresIn: Math.max(1, Math.min(MOST_SECONDS, subject.exp - Math.floor(Date.now() / 1000))),
    });
    token.resourceServer = target;
    token.scope = scope;
    const proof = await validateDpop(provider, ctx);
    if (proof) {
      await checkDpopReplay(provider, ctx, proof, client.clientId);
      token.setThumbprint('jkt', proof.thumbprint);
    }
    ctx.oidc.actingClaim = { sub: client.clientId, ...(subject.act ? { act: subject.act } : {}) };
    ctx.oidc.entity('AccessToken', token);
    ctx.body = {
      access_token: await token.save(),
      issued_token_type: ACCESS_TOKEN,
      token_type: token.tokenType,
      expires_in: token.expiration,
      scope,
    };
  }

  provider.registerGrantType(EXCHANGE, exchange, PARAMETERS, ['audience', 'resource']);
}
