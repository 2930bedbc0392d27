/** Reports what became of steps, in batches that grow under load. */

import type { TaskerEventEmitter } from '../events/emitter.js';
import { StepEventNames } from '../events/names.js';
import { wireResultOf } from '../execution.js';
import { createLogger } from '../logging/index.js';
import { StepHandlerResult } from '../types/step-handler-result.js';
import type { LeaseItem, WireResult } from '../wire.js';
import type { Refusal, ReportAnswer, WorkerCalls } from './calls.js';
import { RequestRefusedError, ServerUnavailableError, WorkerUnknownError } from './errors.js';
import type { EndedAttempt, Ending, Slots } from './slots.js';
import { logged } from './step-execution-subscriber.js';
import { Backoff, pause } from './wake.js';

/** Reports under way at once. While the server records one batch, the next one fills. */
const REPORTERS = 2;

/** How long the results of one report may be together, in bytes; half of what a server takes. */
const MOST_REPORT_BYTES = 8 * 1024 * 1024;

/** How long one result may be, in bytes; a little less than what a server takes. */
const MOST_RESULT_BYTES = 15 * 1024 * 1024;

/** Error type of a result that the server cannot record. */
const RESULT_REFUSED = 'result_refused';

const log = createLogger({ logger: 'tasker.worker' });

/** How many steps a worker has ended. A step counts when its end is recorded; a checkpoint is no end. */
export interface StepCounts {
  succeeded: number;
  failed: number;
}

/** The worker that a reporter reports for. */
export interface ReporterHost {
  /** Its id; null while it has none. */
  readonly id: string | null;
  /** Whether it wants steps that results free. */
  readonly wantsSteps: boolean;
  /** Take over steps that a report brought. */
  start(leases: readonly LeaseItem[]): Promise<unknown>;
  /** Hold a step no longer. */
  forget(leaseIds: readonly number[]): void;
  /** A report was answered; `moreReady` says that the server has more steps. */
  answered(moreReady: boolean): void;
  /** The server cannot be reached. */
  unavailable(duty: string, error: ServerUnavailableError): void;
  /** The server does not know the worker of this id. */
  unknown(workerId: string): void;
  /** The worker cannot go on. */
  fail(error: Error): void;
}

/** Sends the endings that wait in the slots, as soon as there are any. */
export class Reporter {
  readonly counts: StepCounts = { succeeded: 0, failed: 0 };
  readonly #host: ReporterHost;
  readonly #calls: WorkerCalls;
  readonly #slots: Slots;
  readonly #emitter: TaskerEventEmitter;
  readonly #workerName: string;
  readonly #backoff = new Backoff();
  readonly #stopped = new AbortController();
  #underWay = 0;
  #planned = false;

  /** @param workerName the worker's name in results that are made here. */
  constructor(host: ReporterHost, calls: WorkerCalls, slots: Slots, emitter: TaskerEventEmitter, workerName: string) {
    this.#host = host;
    this.#calls = calls;
    this.#slots = slots;
    this.#emitter = emitter;
    this.#workerName = workerName;
  }

  /** Report a result, unless the step is not held any more. */
  report(lease: LeaseItem, result: WireResult): void {
    if (this.#slots.end(lease.lease_id, this.#endingOf(lease, result))) {
      this.#plan();
    }
  }

  /** Report no more. */
  stop(): void {
    this.#stopped.abort();
  }

  #endingOf(lease: LeaseItem, result: WireResult): Ending {
    const text = JSON.stringify(result);
    const bytes = Buffer.byteLength(text);
    if (bytes > MOST_RESULT_BYTES) {
      return this.#refused(lease, `it has ${bytes} bytes, and at most ${MOST_RESULT_BYTES} are allowed`);
    }
    const kind = result.checkpoint !== undefined ? 'checkpoint' : result.success ? 'succeeded' : 'failed';
    return { kind, text, bytes };
  }

  /** The failure to report instead of what the server cannot record. */
  #refused(lease: LeaseItem, reason: string): Ending {
    log.error('report_failed', { ...logged(lease), reason });
    const failure = StepHandlerResult.failure(`the result cannot be recorded: ${reason}`, RESULT_REFUSED, false);
    const text = JSON.stringify(wireResultOf(lease, failure, this.#workerName));
    return { kind: 'refused', text, bytes: Buffer.byteLength(text) };
  }

  /** Send soon: what ends in the same turn of the event loop goes into the same report. */
  #plan(): void {
    if (!this.#planned) {
      this.#planned = true;
      setImmediate(() => {
        this.#planned = false;
        this.#sendWaiting();
      });
    }
  }

  #sendWaiting(): void {
    while (this.#underWay < REPORTERS && !this.#stopped.signal.aborted) {
      const workerId = this.#host.id;
      // Half at most: while one half is being recorded, the handlers of the other half run.
      const most = Math.ceil(this.#slots.concurrency / REPORTERS);
      const batch = workerId === null ? [] : this.#slots.takeEnded(most, MOST_REPORT_BYTES);
      if (workerId === null || batch.length === 0) {
        return;
      }
      this.#underWay += 1;
      void this.#send(batch, workerId).finally(() => {
        this.#underWay -= 1;
        this.#sendWaiting();
      });
    }
  }

  async #send(batch: readonly EndedAttempt[], workerId: string): Promise<void> {
    const want = this.#host.wantsSteps ? this.#slots.free + batch.length : 0;
    // The batch's own slots are free once it is recorded; the others are promised to this report.
    const promised = Math.max(0, want - batch.length);
    this.#slots.promise(promised);
    let answer: ReportAnswer;
    try {
      const texts = batch.map((attempt) => attempt.ending.text);
      answer = await this.#calls.report(workerId, texts, want);
    } catch (error) {
      this.#slots.unpromise(promised);
      await this.#failed(batch, workerId, error as Error);
      return;
    }
    this.#slots.unpromise(promised);
    if (workerId !== this.#host.id) {
      return;
    }
    this.#backoff.reset();
    this.#recorded(batch, answer.refused);
    await this.#host.start(answer.leases);
    this.#host.answered(answer.more_ready);
  }

  #recorded(batch: readonly EndedAttempt[], refused: readonly Refusal[]): void {
    const refusals = new Map(refused.map((refusal) => [refusal.lease_id, refusal]));
    for (const attempt of batch) {
      const refusal = refusals.get(attempt.lease.lease_id);
      if (refusal?.reason === 'malformed' || refusal?.reason === 'not_recordable') {
        this.#failInstead(attempt, refusal.detail ?? refusal.reason);
        continue;
      }
      if (refusal === undefined) {
        this.#count(attempt);
      } else {
        log.warn('report_refused', { ...logged(attempt.lease), reason: refusal.reason });
      }
      this.#host.forget([attempt.lease.lease_id]);
    }
  }

  #count({ lease, ending }: EndedAttempt): void {
    const success = ending.kind === 'succeeded' || ending.kind === 'checkpoint';
    const payload = { stepUuid: lease.step_uuid, success };
    if (ending.kind === 'checkpoint') {
      this.#emitter.emit(StepEventNames.STEP_CHECKPOINT_YIELD_SENT, payload);
      return;
    }
    this.counts[success ? 'succeeded' : 'failed'] += 1;
    this.#emitter.emit(StepEventNames.STEP_COMPLETION_SENT, payload);
  }

  #failInstead({ lease, ending }: EndedAttempt, reason: string): void {
    if (ending.kind === 'refused') {
      // Not even the failure can be recorded: the lease will run out.
      log.error('report_failed', { ...logged(lease), reason });
      this.#host.forget([lease.lease_id]);
      return;
    }
    this.#slots.end(lease.lease_id, this.#refused(lease, reason));
    this.#plan();
  }

  async #failed(batch: readonly EndedAttempt[], workerId: string, error: Error): Promise<void> {
    if (error instanceof WorkerUnknownError) {
      this.#host.unknown(workerId);
      return;
    }
    if (error instanceof RequestRefusedError) {
      await this.#sendApart(batch, workerId, error);
      return;
    }
    this.#slots.putBack(batch);
    if (!(error instanceof ServerUnavailableError)) {
      this.#host.fail(error);
      return;
    }
    this.#host.unavailable('report', error);
    // A stopping worker, too, reports what it has.
    await pause(this.#backoff.next(error.retryAfterSeconds), this.#stopped.signal);
  }

  /** Find the result that the server cannot take, and fail that step alone. */
  async #sendApart(batch: readonly EndedAttempt[], workerId: string, error: Error): Promise<void> {
    const [first] = batch;
    if (batch.length === 1 && first !== undefined) {
      this.#failInstead(first, error.message);
      return;
    }
    for (const attempt of batch) {
      await this.#send([attempt], workerId);
    }
  }
}
