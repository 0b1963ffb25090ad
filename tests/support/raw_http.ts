/** What a raw request is made of. */
export interface RawRequest {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** The answer to a raw request. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

/** Sends a request as it is, with headers that `fetch` would not let through, on a connection of its own. */
export async function rawRequest(port: number, request: RawRequest): Promise<RawAnswer> {
  const { method = "GET", path, headers = {}, body = "" } = request;
  const all = {
    host: `127.0.0.1:${port}`,
    ...(body !== "" && { "content-length": String(new TextEncoder().encode(body).length) }),
    ...headers,
    connection: "close",
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return await rawExchange(port, `${method} ${path} HTTP/1.1\r\n${lines}\r\n${body}`);
}

/** Sends bytes, and reads what is answered until the connection is closed. */
export async function rawExchange(port: number, text: string): Promise<RawAnswer> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const bytes = new TextEncoder().encode(text);
  const sent = (async () => {
    for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
  })().catch(() => {});
  let answer = "";
  try {
    for await (const part of connection.readable.pipeThrough(new TextDecoderStream())) {
      answer += part;
      // Whoever did not get all of the request may keep the connection.
      const length = /\r\ncontent-length: (\d+)\r\n/i.exec(answer)?.[1];
      const end = answer.indexOf("\r\n\r\n");
      if (end >= 0 && length !== undefined && answer.length - end - 4 >= Number(length)) break;
    }
  } catch {
    // Whoever does not want the rest closes the connection.
  }
  await sent;
  const [head, ...rest] = answer.split("\r\n\r\n");
  const [first, ...lines] = head.split("\r\n");
  const headers = new Headers(lines.map((line) => {
    const at = line.indexOf(":");
    return [line.slice(0, at), line.slice(at + 1).trim()];
  }));
  return { status: Number(first.split(" ")[1] ?? 0), headers, body: rest.join("\r\n\r\n") };
}
