/** Types that keep the names that they have where a worker is embedded; here they are types of the worker protocol. */

import type { MetricsPayload } from './events/index.js';
import type { WireCompletion } from './wire.js';

export type { FfiDomainEvent } from './domain-events/index.js';
export type { FfiStepEvent } from './types/index.js';

/** What the loop that asks for steps has done. */
export type FfiDispatchMetrics = MetricsPayload;

/** How an attempt ended, as it is reported. */
export type StepExecutionResult = WireCompletion;
