/** The stream of the log, to standard output: it drops lines that cannot be written, so that the server goes on. */
import { writeSync } from 'node:fs'

const STDOUT = 1
/** A full pipe is waited for, since its reader may be slow for a moment. */
const MAX_WAITS = 20
const WAIT_MS = 5

const neverNotified = new Int32Array(new SharedArrayBuffer(4))

/**
 * Creates a stream that drops lines which cannot be written, because the disk is full or the reader has gone. The next line
 * that can be written is preceded by one with their number.
 *
 * @param write as `fs.writeSync` of a file descriptor: returns the number of bytes written, or throws
 */
export function createLogStream(write: (bytes: Buffer) => number = (bytes) => writeSync(STDOUT, bytes)) {
  let dropped = 0
  return {
    write(line: string): void {
      try {
        if (dropped > 0) {
          const report = { level: 40, time: Date.now(), dropped, msg: 'log lines were dropped' }
          // After a line break, since the line before may be incomplete. A pipe that was full is not waited for again.
          writeAll(write, `\n${JSON.stringify(report)}\n`, 0)
        }
        dropped = 0
        writeAll(write, line, MAX_WAITS)
      } catch {
        dropped++
      }
    }
  }
}

function writeAll(write: (bytes: Buffer) => number, text: string, maxWaits: number): void {
  let bytes = Buffer.from(text)
  for (let waits = 0; bytes.length > 0; ) {
    try {
      bytes = bytes.subarray(write(bytes))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || waits++ >= maxWaits) throw error
      Atomics.wait(neverNotified, 0, 0, WAIT_MS)
    }
  }
}
