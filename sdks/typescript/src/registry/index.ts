export { ClassLookupResolver } from './class-lookup-resolver.js';
export { MethodDispatchError, NoResolverMatchError, ResolutionError, ResolverNotFoundError } from './errors.js';
export { ExplicitMappingResolver } from './explicit-mapping-resolver.js';
export type { HandlerDefinition, HandlerDto, HandlerSpec } from './handler-definition.js';
export {
  effectiveMethod,
  fromCallable,
  fromDto,
  hasResolverHint,
  normalizeToDefinition,
  usesMethodDispatch,
} from './handler-definition.js';
export { HandlerRegistry } from './handler-registry.js';
export { HandlerSystem } from './handler-system.js';
export { MethodDispatchWrapper } from './method-dispatch-wrapper.js';
export type { RegistryResolverStatic } from './registry-resolver.js';
export { RegistryResolver } from './registry-resolver.js';
export type { BaseResolver, HandlerEntry, HandlerFactory, ResolverConfig } from './resolver.js';
export { ResolverChain } from './resolver-chain.js';
