import { logWarn } from '../logging/index.js';
import { processWide } from '../types/process-wide.js';
import { matchesPattern } from './matching.js';
import type { InProcessDomainEventPoller } from './poller.js';
import type { DomainEvent } from './types.js';

/** The base of subscribers, which react to events: set `subscribesTo` and write `handle`. */
export abstract class BaseSubscriber {
  private unsubscribe: (() => void) | null = null;

  /** Patterns of the names of events; all of them by default. */
  static subscribesTo(): string[] {
    return ['*'];
  }

  /** Reacts to an event. What it throws goes to `onHandleError` and no further. */
  abstract handle(event: DomainEvent): void | Promise<void>;

  /** Called before; false keeps the event from being handled. */
  beforeHandle(_event: DomainEvent): boolean | Promise<boolean> {
    return true;
  }

  /** Called after. */
  afterHandle(_event: DomainEvent): void | Promise<void> {}

  /** Called with what the other methods threw; logs it by default. */
  onHandleError(event: DomainEvent, error: Error): void | Promise<void> {
    logWarn('subscriber_failed', { event_name: event.eventName, error: error.message });
  }

  /** Whether this subscriber wants events of a name. */
  matches(eventName: string): boolean {
    return this.subscriptions.some((pattern) => matchesPattern(pattern, eventName));
  }

  /** Starts to handle a poller's events; does nothing if that is under way. */
  start(poller: InProcessDomainEventPoller): void {
    // One subscription for all patterns: an event that fits two of them is handled once.
    this.unsubscribe ??= poller.subscribe('*', (event) => this.receive(event));
  }

  /** Stops to handle events. */
  stop(): void {
    this.unsubscribe?.();
    this.unsubscribe = null;
  }

  /** Whether events are being handled. */
  get active(): boolean {
    return this.unsubscribe !== null;
  }

  /** The patterns of `subscribesTo`. */
  get subscriptions(): string[] {
    return (this.constructor as typeof BaseSubscriber).subscribesTo();
  }

  private async receive(event: DomainEvent): Promise<void> {
    if (!this.matches(event.eventName)) return;
    try {
      if (!(await this.beforeHandle(event))) return;
      await this.handle(event);
      await this.afterHandle(event);
    } catch (error) {
      await this.onHandleError(event, error instanceof Error ? error : new Error(String(error)));
    }
  }
}

/** A class of subscribers; made without arguments. */
export interface SubscriberClass {
  new (): BaseSubscriber;
  subscribesTo(): string[];
}

/** What a {@link SubscriberRegistry} holds. */
export interface SubscriberStats {
  started: boolean;
  subscriberCount: number;
  activeCount: number;
  subscribers: { name: string; active: boolean; patterns: string[] }[];
}

/** The subscribers of a process. */
export class SubscriberRegistry {
  private readonly subscribers: BaseSubscriber[] = [];
  private started = false;

  /** The registry of this process. */
  static get instance(): SubscriberRegistry {
    return processWide('subscriber-registry', () => new SubscriberRegistry());
  }

  /** The same as `instance`. */
  static getInstance(): SubscriberRegistry {
    return SubscriberRegistry.instance;
  }

  /** Registers a new subscriber of a class. */
  register(subscriberClass: SubscriberClass): void {
    this.registerInstance(new subscriberClass());
  }

  /** Registers a subscriber. */
  registerInstance(subscriber: BaseSubscriber): void {
    this.subscribers.push(subscriber);
  }

  /** Starts all subscribers that are registered so far. */
  startAll(poller: InProcessDomainEventPoller): void {
    for (const subscriber of this.subscribers) subscriber.start(poller);
    this.started = true;
  }

  /** Stops all subscribers. */
  stopAll(): void {
    for (const subscriber of this.subscribers) subscriber.stop();
    this.started = false;
  }

  /** Whether `startAll` was called, and `stopAll` not since. */
  get isStarted(): boolean {
    return this.started;
  }

  /** The number of registered subscribers. */
  get count(): number {
    return this.subscribers.length;
  }

  /** What the registry holds. */
  get stats(): SubscriberStats {
    return {
      started: this.started,
      subscriberCount: this.subscribers.length,
      activeCount: this.subscribers.filter((subscriber) => subscriber.active).length,
      subscribers: this.subscribers.map((subscriber) => ({
        name: subscriber.constructor.name,
        active: subscriber.active,
        patterns: subscriber.subscriptions,
      })),
    };
  }

  /** Stops and forgets all subscribers, for tests. */
  reset(): void {
    this.stopAll();
    this.subscribers.length = 0;
  }
}
