/** The leases that are held, in memory that two threads share: the one writes while handlers block it, the other reads. */

const NAME_BYTES = 40;
const ROW_BYTES = 8 + NAME_BYTES;

/** Names a lease in the calls of the worker protocol. */
export interface LeaseName {
  readonly step_uuid: string;
  readonly lease_id: number;
}

/**
 * A table of leases, one row a slot.
 *
 * A row's id is written last and cleared first, and no two leases have the same id, so a reader that finds the same id
 * before and after it read the name has read the name of that lease.
 */
export class LeaseTable {
  readonly memory: SharedArrayBuffer;
  readonly #ids: BigInt64Array;
  readonly #names: Buffer;
  readonly #rows = new Map<number, number>();
  readonly #unused: number[] = [];

  /** @param rows how many leases there may be, or the memory of a table that another thread made. */
  constructor(rows: number | SharedArrayBuffer) {
    this.memory = typeof rows === 'number' ? new SharedArrayBuffer(rows * ROW_BYTES) : rows;
    const count = this.memory.byteLength / ROW_BYTES;
    this.#ids = new BigInt64Array(this.memory, 0, count);
    this.#names = Buffer.from(this.memory, count * 8);
    for (let row = count - 1; row >= 0; row -= 1) {
      this.#unused.push(row);
    }
  }

  /** Add a lease. */
  add(lease: LeaseName): void {
    const row = this.#unused.pop();
    if (row === undefined) {
      throw new RangeError('the table of leases is full');
    }
    this.#rows.set(lease.lease_id, row);
    this.#names.fill(0, row * NAME_BYTES, (row + 1) * NAME_BYTES);
    this.#names.write(lease.step_uuid, row * NAME_BYTES, NAME_BYTES, 'latin1');
    Atomics.store(this.#ids, row, BigInt(lease.lease_id));
  }

  /** Remove a lease, if it is there. */
  remove(leaseId: number): void {
    const row = this.#rows.get(leaseId);
    if (row !== undefined) {
      Atomics.store(this.#ids, row, 0n);
      this.#rows.delete(leaseId);
      this.#unused.push(row);
    }
  }

  /** Return the leases that are in the table just now; from any thread. */
  read(): LeaseName[] {
    const found: LeaseName[] = [];
    for (let row = 0; row < this.#ids.length; row += 1) {
      const id = Atomics.load(this.#ids, row);
      if (id === 0n) {
        continue;
      }
      const name = this.#names.toString('latin1', row * NAME_BYTES, (row + 1) * NAME_BYTES).replace(/\0+$/, '');
      if (Atomics.load(this.#ids, row) === id) {
        found.push({ step_uuid: name, lease_id: Number(id) });
      }
    }
    return found;
  }
}
