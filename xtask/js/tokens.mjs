// `node tokens.mjs SECRET-FILE COUNT` prints a token for each of so many people, as a server that runs with `--dev`
// accepts them (HS256 under the secret in its data folder).

import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

const [secretFile, count] = process.argv.slice(2);
const secret = readFileSync(secretFile, "utf8").trim();
const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const head = part({ alg: "HS256", typ: "JWT", kid: "bellwire-own" });
const exp = Math.floor(Date.now() / 1000) + 3600;
for (let n = 0; n < Number(count); n += 1) {
  const body = part({ sub: `load-${n}`, iss: "bellwire", aud: "bellwire", role: "client", exp });
  const signature = createHmac("sha256", secret).update(`${head}.${body}`).digest("base64url");
  console.log(`${head}.${body}.${signature}`);
}
