import { brokerSuite } from "../../../src/testing/broker_suite.ts";
import { BROKERS } from "../../support/brokers.ts";

for (const [kind, open] of Object.entries(BROKERS)) {
  brokerSuite((name, run) => Deno.test(`${kind} broker: ${name}`, run), open);
}
