/* JSON to and from the server. A refusal is an answer too; only silence or a broken server throws Unreachable. */

export class Unreachable extends Error {
  constructor(words, told = {}) {
    super(words);
    this.told = told; // what the server itself says of it, if it can: `detail` and `mend`
  }
}

export async function send(method, address, body, { keepalive = false } = {}) {
  let response;
  try {
    response = await fetch(address, {
      method,
      keepalive,
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    throw new Unreachable(String(error));
  }
  const isJson = /json/.test(response.headers.get("Content-Type") ?? "");
  if (response.status >= 500 || response.status === 429) {
    throw new Unreachable(`the server answered ${response.status}`, isJson ? await response.json().catch(() => ({})) : {});
  }
  if (response.ok && !isJson) throw new Unreachable("something other than the server answered");
  return { ok: response.ok, status: response.status, body: isJson ? await response.json() : {} };
}
