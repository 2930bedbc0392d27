/** The steps that a worker holds: from their grant until their end is recorded, or until they are lost. */

import type { TaskerEventEmitter } from '../events/emitter.js';
import { StepEventNames } from '../events/names.js';
import { workerShutdown } from '../execution.js';
import { createLogger } from '../logging/index.js';
import type { LeaseItem } from '../wire.js';
import type { LeaseKeeper } from './lease-keeper.js';
import type { Reporter } from './reporter.js';
import type { Slots } from './slots.js';
import { logged, type StepExecutionSubscriber } from './step-execution-subscriber.js';
import { Wake } from './wake.js';

const log = createLogger({ logger: 'tasker.worker' });

/** What each step of a worker has to do with. */
export interface HeldStepsParts {
  readonly slots: Slots;
  readonly keeper: LeaseKeeper;
  readonly subscriber: StepExecutionSubscriber;
  readonly reporter: Reporter;
  readonly emitter: TaskerEventEmitter;
  /** The worker's name in results that are made here. */
  readonly workerName: string;
}

/** Starts steps, ends those that are lost, and waits for the others. */
export class HeldSteps {
  readonly #parts: HeldStepsParts;
  readonly #changed = new Wake();

  constructor(parts: HeldStepsParts) {
    this.#parts = parts;
  }

  /** Start steps. Returns those that there is no slot for, to be given back, and how many were started. */
  start(leases: readonly LeaseItem[]): { started: number; excess: readonly LeaseItem[] } {
    const { slots, keeper, emitter } = this.#parts;
    const { started, excess } = slots.admit(leases);
    // All are kept before the first handler runs, which may block this thread.
    for (const lease of started) {
      keeper.add(lease);
    }
    for (const lease of started) {
      emitter.emit(StepEventNames.STEP_EXECUTION_RECEIVED, { lease });
    }
    return { started: started.length, excess };
  }

  /** Stop the handlers of steps that are lost; what has a result already is left to be refused. */
  lose(leaseIds: readonly number[], reason: 'lost' | 'cancelled'): void {
    this.#cancel(this.forget(leaseIds.filter((id) => this.#parts.slots.runs(id))), reason);
  }

  /** Lose all steps, and what was to be reported for them. */
  loseAll(): void {
    this.#cancel(this.forget(this.#parts.slots.ids()), 'lost');
  }

  /** Hold steps no longer. Returns those whose handler runs. */
  forget(leaseIds: readonly number[]): LeaseItem[] {
    for (const id of leaseIds) {
      this.#parts.keeper.remove(id);
    }
    const running = this.#parts.slots.forget(leaseIds);
    this.#changed.set();
    return running;
  }

  /**
   * Wait until no step is held.
   *
   * @param handlersMs how long handlers may run on; then they are cut short.
   * @param reportsMs how long their reports may take after that.
   */
  async drain(handlersMs: number, reportsMs: number): Promise<void> {
    const { slots, subscriber, reporter, workerName } = this.#parts;
    if (await this.#drainedWithin(handlersMs)) {
      return;
    }
    const cutShort = slots.running();
    log.warn('drain_timeout', { running: cutShort.length, seconds: handlersMs / 1000 });
    for (const lease of cutShort) {
      subscriber.cancel(lease.lease_id, 'the worker is stopping');
      reporter.report(lease, workerShutdown(lease, workerName));
    }
    if (!(await this.#drainedWithin(reportsMs))) {
      log.warn('leases_left_behind', { count: slots.held });
    }
  }

  async #drainedWithin(ms: number): Promise<boolean> {
    const deadline = performance.now() + ms;
    while (this.#parts.slots.held > 0 && performance.now() < deadline) {
      await this.#changed.wait(deadline - performance.now());
    }
    return this.#parts.slots.held === 0;
  }

  #cancel(leases: readonly LeaseItem[], reason: 'lost' | 'cancelled'): void {
    for (const lease of leases) {
      log.warn('lease_lost', { ...logged(lease), reason });
      const told = reason === 'lost' ? 'the lease was lost' : 'the step was cancelled';
      this.#parts.subscriber.cancel(lease.lease_id, told);
    }
  }
}
