import { withOnlookers } from "./many_domain.ts";

/** Four handlers. */
export default withOnlookers(1);
