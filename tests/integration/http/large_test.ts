import assert from "node:assert/strict";
import { Site } from "../../support/server.ts";
import { freePort } from "../../support/services.ts";

const MODULE = new URL("../../fixtures/talk/domain.ts", import.meta.url);
const TOKEN = "a-token-of-enough-characters";

Deno.test("large events are sent whole and in order, and large rows a part at a time", async () => {
  const port = freePort();
  await using site = Site.make(
    "talk",
    MODULE,
    `[server.http]\nlisten = "127.0.0.1:${port}"\napi = true\ntoken = "${TOKEN}"\n`,
  );
  const server = await site.start().running();
  const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" };
  const url = (path: string) => `http://127.0.0.1:${port}${path}`;
  const lengths = [10, 3_000_000, 20, 30, 4_000_000, 3_000_000, 40];
  let token = "";
  for (const [i, length] of lengths.entries()) {
    // Letters of several bytes and units, which no part may end within.
    const text = "🙂é".repeat(Math.ceil(length / 3)).slice(0, length - length % 3);
    const body = JSON.stringify({ id: `t${i}`, text });
    const sent = await fetch(url("/commands/Say"), {
      method: "POST",
      body,
      headers: { ...headers, prefer: "wait=20" },
    });
    const answer = await sent.json();
    assert.equal(sent.status, 200, JSON.stringify(answer).slice(0, 500));
    token = answer.token;
  }

  const events = await fetch(url("/events?after=start"), { headers });
  let [text, seen] = ["", [] as string[]];
  for await (const part of events.body!.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (!part.includes("\n\n")) continue;
    const blocks = text.split("\n\n");
    text = blocks.pop()!;
    for (const block of blocks) {
      const data = /^data: (.*)$/m.exec(block)?.[1];
      if (data === undefined) continue;
      const { payload } = JSON.parse(data);
      assert.match(payload.text, /^(🙂é)*$/u);
      seen = [...seen, `${payload.id} ${payload.text.length}`];
    }
    if (seen.length === lengths.length) break;
  }
  assert.deepEqual(seen, lengths.map((length, i) => `t${i} ${length - length % 3}`));

  const keys: string[][] = [];
  for (let cursor: string | null = ""; cursor !== null;) {
    const page: Response = await fetch(url(`/projections/Texts?limit=100${cursor && `&cursor=${cursor}`}`), {
      headers: { ...headers, after: token },
    });
    const { rows, cursor: next } = await page.json();
    keys.push(rows.map(({ id }: { id: string }) => id));
    cursor = next;
  }
  assert.deepEqual(keys.flat(), lengths.map((_, i) => `t${i}`));
  assert.ok(keys.length > 1, "ten million characters are not in one answer");
  assert.equal(await server.stop(), 0);
});
