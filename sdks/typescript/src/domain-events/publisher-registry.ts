import { processWide } from '../types/process-wide.js';
import type { BasePublisher } from './publisher.js';
import { DefaultPublisher } from './publisher.js';

/** There is no publisher of a name. */
export class PublisherNotFoundError extends Error {
  override readonly name = 'PublisherNotFoundError';

  constructor(readonly publisherName: string) {
    super(`no publisher named '${publisherName}' is registered`);
  }
}

/** Publishers that are needed are not registered. */
export class PublisherValidationError extends Error {
  override readonly name = 'PublisherValidationError';

  constructor(readonly missingPublishers: string[]) {
    super(`these publishers are not registered: ${missingPublishers.join(', ')}`);
  }
}

/** The registry cannot be changed any more. */
export class RegistryFrozenError extends Error {
  override readonly name = 'RegistryFrozenError';

  constructor() {
    super('the registry of publishers is frozen: register before validateRequired or freeze is called');
  }
}

/** Two publishers have the same name. */
export class DuplicatePublisherError extends Error {
  override readonly name = 'DuplicatePublisherError';

  constructor(readonly publisherName: string) {
    super(`a publisher named '${publisherName}' is already registered`);
  }
}

/** The publishers of a process by name; the one named `default` is always there and not counted. */
export class PublisherRegistry {
  private readonly publishers = new Map<string, BasePublisher>();
  private readonly fallback = new DefaultPublisher();
  private frozen = false;

  /** The registry of this process. */
  static get instance(): PublisherRegistry {
    return processWide('publisher-registry', () => new PublisherRegistry());
  }

  /** The same as `instance`. */
  static getInstance(): PublisherRegistry {
    return PublisherRegistry.instance;
  }

  /**
   * @throws DuplicatePublisherError if the name is taken.
   * @throws RegistryFrozenError if the registry is frozen.
   */
  register(publisher: BasePublisher): void {
    this.assertNotFrozen();
    const name = publisher.publisherName;
    if (this.isRegistered(name)) throw new DuplicatePublisherError(name);
    this.publishers.set(name, publisher);
  }

  /** The publisher of this name, if there is one. */
  get(name: string): BasePublisher | undefined {
    return name === this.fallback.publisherName ? this.fallback : this.publishers.get(name);
  }

  /** The publisher of this name, else the default one. */
  getOrDefault(name?: string | null): BasePublisher {
    return this.get(name ?? '') ?? this.fallback;
  }

  /** @throws PublisherNotFoundError if there is no publisher of this name. */
  getStrict(name: string): BasePublisher {
    const found = this.get(name);
    if (found === undefined) throw new PublisherNotFoundError(name);
    return found;
  }

  /** Whether there is a publisher of this name; `default` always is. */
  isRegistered(name: string): boolean {
    return this.get(name) !== undefined;
  }

  /**
   * Removes a publisher; whether there was one.
   *
   * @throws RegistryFrozenError if the registry is frozen.
   */
  unregister(name: string): boolean {
    this.assertNotFrozen();
    return this.publishers.delete(name);
  }

  /**
   * Removes all publishers but the default one.
   *
   * @throws RegistryFrozenError if the registry is frozen.
   */
  clear(): void {
    this.assertNotFrozen();
    this.publishers.clear();
  }

  /**
   * Makes sure that these publishers are registered, and freezes the registry.
   *
   * @throws PublisherValidationError if one is not.
   */
  validateRequired(names: Iterable<string>): void {
    const missing = [...names].filter((name) => !this.isRegistered(name));
    if (missing.length > 0) throw new PublisherValidationError(missing);
    this.freeze();
  }

  /** Keeps the registry from being changed. */
  freeze(): void {
    this.frozen = true;
  }

  /** Removes all publishers and thaws the registry, for tests. */
  reset(): void {
    this.frozen = false;
    this.publishers.clear();
  }

  /** The names of the registered publishers. */
  get registeredNames(): string[] {
    return [...this.publishers.keys()];
  }

  /** The number of registered publishers. */
  get count(): number {
    return this.publishers.size;
  }

  /** Whether none is registered. */
  get isEmpty(): boolean {
    return this.publishers.size === 0;
  }

  /** Whether the registry cannot be changed any more. */
  get isFrozen(): boolean {
    return this.frozen;
  }

  private assertNotFrozen(): void {
    if (this.frozen) throw new RegistryFrozenError();
  }
}
