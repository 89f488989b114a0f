// The TypeScript SDK's client, as an application would use it, with a browser at the other end of standard input.
//
// Argument: JSON {url, redirect, wire, steps: [[method of Client, parameters, {seconds} of patience], …], dpop}, where wire "legacy" is the
// handshake wire, a date pins the modern one, and dpop asks for bound tokens (RFC 9449). Standard output: a line of JSON
// for each event: {"authorize": url} waits for a line with the URL where the browser was sent back to; {"result": …}
// for each step; {"failed": …} at last.

import { createInterface } from 'node:readline';
import { Client, DpopSession, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';

const { url, redirect, wire, steps, dpop } = JSON.parse(process.argv[2]);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const tell = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);

class Application {
  redirectUrl = redirect;
  clientMetadata = { client_name: 'typescript', redirect_uris: [redirect], token_endpoint_auth_method: 'none' };
  clientInformation = () => this.registered;
  saveClientInformation = (registered) => { this.registered = registered; };
  tokens = () => this.saved;
  saveTokens = (tokens) => { this.saved = tokens; };
  codeVerifier = () => this.verifier;
  saveCodeVerifier = (verifier) => { this.verifier = verifier; };
  redirectToAuthorization = (address) => { tell({ authorize: address.href }); };
}

const application = new Application();
if (dpop) {
  const session = await DpopSession.create();
  application.dpop = () => session;
}
const connect = async () => {
  const client = new Client(
    { name: 'typescript', version: '1' },
    { versionNegotiation: { mode: wire === 'legacy' ? 'legacy' : { pin: wire } } },
  );
  const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: application });
  await authorized(transport, () => client.connect(transport), connect);
  return application.connected ?? (application.connected = { client, transport });
};

// One attempt, and where the SDK has sent the user to the browser, another when he is back.
async function authorized(transport, attempt, again = attempt) {
  try {
    return await attempt();
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    await transport.finishAuth(new URL((await lines.next()).value).searchParams);
    return again();
  }
}

// A call of which progress is heard, and which is given up where `seconds` are over: then its result is {given_up}.
async function patiently(client, method, parameters, { seconds }) {
  const heard = [];
  const signal = AbortSignal.timeout(seconds * 1000);
  try {
    return { ...(await client[method](parameters, { onprogress: (word) => heard.push(word), signal })), heard };
  } catch (error) {
    if (!signal.aborted) throw error;
    return { given_up: true, heard };
  }
}

try {
  const { client, transport } = await connect();
  for (const [method, parameters, patience] of steps) {
    const call = patience ? () => patiently(client, method, parameters, patience) : () => client[method](parameters);
    tell({ result: await authorized(transport, call) });
  }
  await client.close();
} catch (error) {
  tell({ failed: `${error.name}: ${error.message}` });
}
process.exit(0);
