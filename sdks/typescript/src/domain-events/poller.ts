import { logWarn } from '../logging/index.js';
import { listenToDomainEvents } from './bus.js';
import { matchesPattern } from './matching.js';
import type { DomainEvent, FfiDomainEvent } from './types.js';
import { ffiEventToDomainEvent } from './types.js';

/** Gets an event. */
export type DomainEventCallback = (event: DomainEvent) => void | Promise<void>;

/** Gets what a callback threw, and the event that it was called with; null if the poll function threw. */
export type DomainEventErrorCallback = (error: Error, event: DomainEvent | null) => void;

/** Returns the next event of another source, null if there is none at present. */
export type DomainEventPollFunction = () => DomainEvent | null;

/** How an {@link InProcessDomainEventPoller} polls. */
export interface DomainEventPollerConfig {
  /** Milliseconds between two polls, 10 by default. */
  pollIntervalMs?: number;
  /** 100 by default. */
  maxEventsPerPoll?: number;
}

/** What a poller has done. */
export interface PollerStats {
  pollCount: number;
  eventsProcessed: number;
  /** Events that were lost, because more came than were taken. */
  eventsLagged: number;
  running: boolean;
}

/** Events that wait for the next poll; older ones are dropped. */
const WAITING_LIMIT = 10_000;

/** Hands events to subscribers: those of publishers in this process, and those of a poll function if there is one. */
export class InProcessDomainEventPoller {
  private readonly pollIntervalMs: number;
  private readonly maxEventsPerPoll: number;
  private readonly subscriptions = new Map<string, Set<DomainEventCallback>>();
  private readonly errorCallbacks = new Set<DomainEventErrorCallback>();
  private readonly waiting: DomainEvent[] = [];
  private pollFunction: DomainEventPollFunction = () => null;
  private timer: NodeJS.Timeout | null = null;
  private stopListening: (() => void) | null = null;
  private pollCount = 0;
  private eventsProcessed = 0;
  private eventsLagged = 0;

  constructor({ pollIntervalMs = 10, maxEventsPerPoll = 100 }: DomainEventPollerConfig = {}) {
    this.pollIntervalMs = pollIntervalMs;
    this.maxEventsPerPoll = maxEventsPerPoll;
  }

  /** Sets a further source of events. */
  setPollFunction(pollFunction: DomainEventPollFunction): void {
    this.pollFunction = pollFunction;
  }

  /** Has a callback called with the events whose names fit a pattern; returns what ends that. */
  subscribe(pattern: string, callback: DomainEventCallback): () => void {
    const callbacks = this.subscriptions.get(pattern) ?? new Set();
    this.subscriptions.set(pattern, callbacks.add(callback));
    return () => this.unsubscribe(pattern, callback);
  }

  /** Ends the subscription of a callback, or of all callbacks of a pattern. */
  unsubscribe(pattern: string, callback?: DomainEventCallback): void {
    const callbacks = this.subscriptions.get(pattern);
    if (callback !== undefined) callbacks?.delete(callback);
    if (callback === undefined || callbacks?.size === 0) this.subscriptions.delete(pattern);
  }

  /** Has a callback called with what others threw; without one it is logged. */
  onError(callback: DomainEventErrorCallback): void {
    this.errorCallbacks.add(callback);
  }

  /** Starts polling; does nothing if that is under way. Does not keep the process alive. */
  start(): void {
    if (this.timer !== null) return;
    this.stopListening = listenToDomainEvents((event) => this.keep(event));
    this.timer = setInterval(() => this.poll(), this.pollIntervalMs);
    this.timer.unref();
  }

  /** Hands out what waits, and stops. */
  stop(): void {
    if (this.timer === null) return;
    clearInterval(this.timer);
    this.timer = null;
    this.stopListening?.();
    while (this.waiting.length > 0) this.deliverWaiting();
  }

  /** Whether the poller polls. */
  isRunning(): boolean {
    return this.timer !== null;
  }

  /** What the poller has done since it was made. */
  get stats(): PollerStats {
    const { pollCount, eventsProcessed, eventsLagged } = this;
    return { pollCount, eventsProcessed, eventsLagged, running: this.isRunning() };
  }

  private keep(event: DomainEvent): void {
    this.waiting.push(event);
    if (this.waiting.length <= WAITING_LIMIT) return;
    this.waiting.shift();
    this.eventsLagged += 1;
  }

  private poll(): void {
    this.pollCount += 1;
    this.deliverWaiting();
    try {
      for (let taken = 0; taken < this.maxEventsPerPoll; taken += 1) {
        const event = this.pollFunction();
        if (event === null) return;
        this.deliver(event);
      }
    } catch (error) {
      this.fail(error, null);
    }
  }

  private deliverWaiting(): void {
    for (const event of this.waiting.splice(0, this.maxEventsPerPoll)) this.deliver(event);
  }

  private deliver(event: DomainEvent): void {
    this.eventsProcessed += 1;
    for (const [pattern, callbacks] of this.subscriptions) {
      if (matchesPattern(pattern, event.eventName)) for (const callback of callbacks) void this.call(callback, event);
    }
  }

  private async call(callback: DomainEventCallback, event: DomainEvent): Promise<void> {
    try {
      await callback(event);
    } catch (error) {
      this.fail(error, event);
    }
  }

  private fail(thrown: unknown, event: DomainEvent | null): void {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    if (this.errorCallbacks.size === 0) {
      logWarn('event_callback_failed', { event_name: event?.eventName, error: error.message });
    }
    for (const callback of this.errorCallbacks) callback(error, event);
  }
}

/** A poll function out of one that returns events with the keys of other runtimes. */
export function createFfiPollAdapter(poll: () => FfiDomainEvent | null): DomainEventPollFunction {
  return () => {
    const event = poll();
    return event === null ? null : ffiEventToDomainEvent(event);
  };
}
