export type {
  BrokerConfig,
  Config,
  GroupConfig,
  HttpConfig,
  PermissionGrant,
  PublisherConfig,
  StoreConfig,
  SubscriberConfig,
} from "./config.ts";
export { ConfigError, type ConfigFault } from "./errors.ts";
export { loadConfig, type LoadOptions } from "./load.ts";
