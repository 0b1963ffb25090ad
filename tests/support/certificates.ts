/** Files of an authority and of a certificate for `localhost` that it has signed. */
export interface Certificates extends AsyncDisposable {
  /** The folder. */
  readonly folder: string;
  /** The authority. */
  readonly authority: string;
  /** The server's certificate. */
  readonly certificate: string;
  /** Its key. */
  readonly key: string;
}

async function openssl(cwd: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("openssl", { args, cwd }).output();
  if (!success) throw new Error(`openssl ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

const EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/** Makes certificates, with the `openssl` that PostgreSQL's package brings. */
export async function makeCertificates(): Promise<Certificates> {
  const folder = await Deno.makeTempDir({ prefix: "annals-tls-" });
  await Deno.chmod(folder, 0o755);
  await Deno.writeTextFile(`${folder}/names`, "subjectAltName=DNS:localhost\n");
  await openssl(folder, "req", "-x509", ...EC, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=Authority");
  await openssl(folder, "req", ...EC, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost");
  const signed = ["-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"];
  await openssl(folder, "x509", "-req", ...signed, "-out", "server.crt");
  return {
    folder,
    authority: `${folder}/ca.crt`,
    certificate: `${folder}/server.crt`,
    key: `${folder}/server.key`,
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}
