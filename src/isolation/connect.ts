/** Connects to the engine through a Unix socket or a local port. */
export async function connect(address: string | number): Promise<Deno.Conn> {
  return typeof address === "string"
    ? await Deno.connect({ transport: "unix", path: address })
    : await Deno.connect({ hostname: "127.0.0.1", port: address });
}
