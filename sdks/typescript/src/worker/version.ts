/** Version of this package. */
export const VERSION = '0.1.0';

/** What the worker calls itself towards the server. */
export const SDK = `typescript/${VERSION}`;

/** Version of the worker protocol that this package speaks. */
export const PROTOCOL_VERSION = '1';
