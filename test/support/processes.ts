/** The argument with which Node.js runs TypeScript. */
export const TYPESCRIPT = `--import=${new URL('./typescript.mjs', import.meta.url)}`

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
