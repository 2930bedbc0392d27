/** A handler could not be resolved; also for resolvers of your own that want to say why. */
export class ResolutionError extends Error {
  override readonly name: string = 'ResolutionError';
}

/** A template names a resolver that the chain does not have. */
export class ResolverNotFoundError extends ResolutionError {
  override readonly name = 'ResolverNotFoundError';
}

/** No resolver knows a callable. */
export class NoResolverMatchError extends ResolutionError {
  override readonly name = 'NoResolverMatchError';
}

/** A handler has no method of the name that a template asks for. */
export class MethodDispatchError extends ResolutionError {
  override readonly name = 'MethodDispatchError';
}
