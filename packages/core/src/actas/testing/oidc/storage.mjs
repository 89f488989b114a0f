// What the provider remembers, in memory and outside of it: a change of keys makes another provider, and
// sessions, grants and tokens outlive that.
//
// The scopes that a client names when it registers are forgotten. Clients name those of the first challenge that they
// met, and ask for more when a call needs more; the library would take the first ones for a limit (RFC 7591 section 2).

const kept = new Map(); // "model:id" -> { payload, until }

export class storage {
  constructor(model) {
    this.model = model;
  }

  key(id) {
    return `${this.model}:${id}`;
  }

  search(matches) {
    for (const [key, { payload }] of kept) {
      if (key.startsWith(`${this.model}:`) && matches(payload)) return this.find(key.slice(this.model.length + 1));
    }
    return undefined;
  }

  async upsert(id, payload, seconds) {
    if (this.model === 'Client') delete payload.scope;
    kept.set(this.key(id), { payload, until: seconds ? Date.now() + seconds * 1000 : Infinity });
  }

  async find(id) {
    const entry = kept.get(this.key(id));
    return entry && entry.until > Date.now() ? entry.payload : undefined;
  }

  async findByUid(uid) {
    return this.search((payload) => payload.uid === uid);
  }

  async findByUserCode(code) {
    return this.search((payload) => payload.userCode === code);
  }

  async consume(id) {
    const payload = await this.find(id);
    if (payload) payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    kept.delete(this.key(id));
  }

  async revokeByGrantId(grantId) {
    for (const [key, { payload }] of kept) if (payload.grantId === grantId) kept.delete(key);
  }
}
