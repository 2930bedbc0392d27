import type { WireDependencyResult } from '../wire.js';

interface ResultsAnswer {
  results: Record<string, WireDependencyResult | null>;
}

/** A result that a lease leaves out is refused. */
export class ResultUnavailableError extends Error {
  override name = 'ResultUnavailableError';
}

/**
 * The result of an earlier step that its lease left out.
 *
 * It is kept as text: each reader gets a value of his own, and many leases have no reader.
 */
export class FetchedResult {
  private constructor(
    /** The step's name. */
    readonly name: string,
    /** The server's answer, which holds this result alone. */
    readonly text: string,
  ) {}

  /**
   * The result that an answer of the server holds; null if the step left none.
   *
   * @throws Error if the answer is none.
   */
  static ofAnswer(text: string, name: string): FetchedResult | null {
    return resultIn(text, name) === null ? null : new FetchedResult(name, text);
  }

  /** A new copy of it. */
  read(): WireDependencyResult {
    return resultIn(this.text, this.name) as WireDependencyResult;
  }
}

function resultIn(text: string, name: string): WireDependencyResult | null {
  return (JSON.parse(text) as ResultsAnswer).results[name] ?? null;
}
