import {
  aggregate,
  command,
  commandHandler,
  domain,
  DomainRuleError,
  event,
  processManager,
  type ProcessManagerOptions,
  type,
} from "@annals/annals";

// An order is paid and shipped; who does not pay in time is reminded, and what cannot be shipped is paid back.

type Order = { readonly orderId: string };

export const Ordered = event("Ordered", { schema: type<Order & { cents: number }>() });
export const Paid = event("Paid", { schema: type<Order & { cents: number }>() });
export const Shipped = event("Shipped", { schema: type<Order>() });
export const Reminded = event("Reminded", { schema: type<Order & { times: number }>() });
export const PaidBack = event("PaidBack", { schema: type<Order & { cents: number }>() });

export const Orders = aggregate("Orders", {
  events: [Ordered, Reminded],
  initial: () => 0,
  evolve: { Ordered: (_n, { payload }) => payload.cents, Reminded: (n) => n },
});
export const Money = aggregate("Money", {
  events: [Paid, PaidBack],
  initial: () => 0,
  evolve: { Paid: (n, { payload }) => n + payload.cents, PaidBack: (n, { payload }) => n - payload.cents },
  invariants: { "cannot pay back more than was paid": (n) => n >= 0 },
});
export const Parcel = aggregate("Parcel", { events: [Shipped], initial: () => 0, evolve: { Shipped: (n) => n + 1 } });

const target = ({ orderId }: Order) => orderId;
export const PlaceOrder = command("PlaceOrder", { schema: type<Order & { cents: number }>(), target });
export const Remind = command("Remind", { schema: type<Order & { times: number }>(), target });
export const Pay = command("Pay", { schema: type<Order & { cents: number }>(), target });
export const PayBack = command("PayBack", { schema: type<Order & { cents: number }>(), target });
export const Ship = command("Ship", { schema: type<Order>(), target });

const handlers = [
  commandHandler("OrderDesk", Orders, {
    commands: [PlaceOrder, Remind],
    handle: { PlaceOrder: (_n, { payload }) => Ordered(payload), Remind: (_n, { payload }) => Reminded(payload) },
  }),
  commandHandler("Till", Money, {
    commands: [Pay, PayBack],
    handle: { Pay: (_n, { payload }) => Paid(payload), PayBack: (_n, { payload }) => PaidBack(payload) },
  }),
  commandHandler("Warehouse", Parcel, {
    commands: [Ship],
    handle: {
      Ship: (_n, { payload }) => {
        if (payload.orderId.startsWith("sold out")) throw new DomainRuleError("orderId", "is sold out");
        return Shipped(payload);
      },
    },
  }),
];

const EVENTS = [Ordered, Paid, Shipped] as const;
const COMMANDS = [Remind, PayBack, Ship] as const;
const timeouts = { unpaid: type<{ times: number }>() };
type Options = ProcessManagerOptions<
  { readonly cents: number },
  typeof EVENTS,
  typeof COMMANDS,
  typeof timeouts
>;

const DELIVERY: Options = {
  events: EVENTS,
  commands: COMMANDS,
  timeouts,
  starts: ["Ordered"],
  correlate: {
    Ordered: ({ payload }) => payload.orderId,
    Paid: ({ payload }) => payload.orderId,
    Shipped: ({ payload }) => payload.orderId,
  },
  initial: () => ({ cents: 0 }),
  evolve: { Ordered: (_state, { payload: { cents } }) => ({ cents }) },
  react: {
    Ordered: (_state, _event, step) => step.after("14d", "unpaid", { times: 1 }),
    Paid: ({ cents }, _event, step) => [
      step.cancel("unpaid"),
      step.undoWith(PayBack({ orderId: step.id, cents })),
      Ship({ orderId: step.id }),
    ],
    Shipped: (_state, _event, step) => step.done(),
  },
  refused: {
    Remind: () => [],
    PayBack: () => [],
    Ship: (_state, _refusal, step) => [step.undo(), step.done()],
  },
  late: {
    unpaid: (_state, { times }, step) =>
      times > 3 ? step.done() : [
        Remind({ orderId: step.id, times }),
        step.after("7d", "unpaid", { times: times + 1 }),
      ],
  },
};

/** A shop with the process, and what is to be different about it. */
export function shop(changes: Partial<Options> = {}) {
  const Delivery = processManager("Delivery", { ...DELIVERY, ...changes });
  const aggregates = [Orders, Money, Parcel];
  return { Delivery, shop: domain("shop", { aggregates, handlers: [...handlers, Delivery] }) };
}
