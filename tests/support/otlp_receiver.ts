/** A span as it was exported. */
export interface ExportedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the first span of a trace. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly attributes: Readonly<Record<string, unknown>>;
  /** 2 for a failure. */
  readonly status: number;
  /** The process that made it. */
  readonly service: string;
}

type Attribute = { readonly key: string; readonly value: Readonly<Record<string, any>> };

function attributesOf(attributes: readonly Attribute[] = []): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => {
    const [found] = Object.values(value);
    return [key, "intValue" in value ? Number(found) : found];
  }));
}

function spansOf(body: any): ExportedSpan[] {
  return body.resourceSpans.flatMap(({ resource, scopeSpans }: any) => {
    const service = String(attributesOf(resource.attributes)["service.name"]);
    return scopeSpans.filter(({ scope }: any) => scope.name === "annals").flatMap(({ spans }: any) =>
      spans.map(({ attributes, status, links = [], ...span }: any) => ({
        ...span,
        links,
        attributes: attributesOf(attributes),
        status: status?.code ?? 0,
        service,
      }))
    );
  });
}

/** A server that takes traces as OTLP over HTTP, in JSON. */
export class OtlpReceiver {
  readonly spans: ExportedSpan[] = [];
  #server: Deno.HttpServer<Deno.NetAddr>;

  constructor() {
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
      const body = await request.json();
      if (new URL(request.url).pathname === "/v1/traces") this.spans.push(...spansOf(body));
      return Response.json({});
    });
  }

  /** The environment of a process that sends its spans here, at once. */
  env(service: string): Record<string, string> {
    return {
      OTEL_DENO: "true",
      OTEL_DENO_CONSOLE: "ignore",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${this.#server.addr.port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_SERVICE_NAME: service,
      OTEL_BSP_SCHEDULE_DELAY: "100",
    };
  }

  /** All spans that a span has caused, directly or not: its children, and those that are linked to it. */
  causedBy(span: ExportedSpan): Set<ExportedSpan> {
    const found = new Set([span]);
    for (const cause of found) {
      for (const other of this.spans) {
        const isLinked = other.links.some((link) => link.spanId === cause.spanId && link.traceId === cause.traceId);
        if (isLinked || (other.parentSpanId === cause.spanId && other.traceId === cause.traceId)) found.add(other);
      }
    }
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}
