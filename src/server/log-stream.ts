/** Where log lines go: standard output, whatever happens to it. */
import { writeSync } from 'node:fs'

const STDOUT = 1
/** A reader that is slow for a moment, such as a full pipe, is waited for; a log must not stop the server. */
const MAX_WAITS = 20
const WAIT_MS = 5

const pause = new Int32Array(new SharedArrayBuffer(4))

/**
 * Creates a stream that drops lines which cannot be written, because the disk is full or the reader is gone. The first line
 * afterwards tells how many.
 *
 * @param write as `fs.writeSync` with the file descriptor bound: returns the number of bytes written, or throws
 */
export function createLogStream(write: (bytes: Buffer) => number = (bytes) => writeSync(STDOUT, bytes)) {
  let dropped = 0
  return {
    write(line: string): void {
      try {
        if (dropped > 0)
          writeAll(
            write,
            `\n${JSON.stringify({ level: 40, time: Date.now(), dropped, msg: 'log lines were dropped' })}\n`
          )
        dropped = 0
        writeAll(write, line)
      } catch {
        dropped++
      }
    }
  }
}

function writeAll(write: (bytes: Buffer) => number, text: string): void {
  let bytes = Buffer.from(text)
  for (let waits = 0; bytes.length > 0; ) {
    try {
      bytes = bytes.subarray(write(bytes))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || waits++ >= MAX_WAITS) throw error
      Atomics.wait(pause, 0, 0, WAIT_MS)
    }
  }
}
