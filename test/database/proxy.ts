/** A TCP proxy for PostgreSQL that can close or pause its connections. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Scope } from '../support/build.ts'

export interface Wire {
  /** The URL of the database through the proxy. */
  url: string
  /** Closes all connections and accepts no new ones. */
  cut(): Promise<void>
  /** Keeps all connections open without forwarding data. */
  freeze(): void
  /** Accepts connections again and resumes frozen ones. */
  mend(): Promise<void>
}

export async function layWire(scope: Scope, databaseUrl: string): Promise<Wire> {
  const target = new URL(databaseUrl)
  const sockets = new Set<Socket>()
  let frozen = false
  const keep = (socket: Socket) => {
    sockets.add(socket)
    if (frozen) socket.pause()
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
  }
  const server = createServer((near) => {
    const far = connect(Number(target.port), target.hostname)
    for (const socket of [near, far]) keep(socket)
    near.on('data', (data) => far.write(data)).on('close', () => far.destroy())
    far.on('data', (data) => near.write(data)).on('close', () => near.destroy())
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const close = async () => {
    if (!server.listening) return
    const closed = once(server.close(), 'close')
    for (const socket of sockets) socket.destroy()
    await closed
  }
  scope.teardown(close)
  return {
    url: Object.assign(new URL(databaseUrl), { host: `127.0.0.1:${port}` }).href,
    cut: close,
    freeze() {
      frozen = true
      for (const socket of sockets) socket.pause()
    },
    async mend() {
      frozen = false
      for (const socket of sockets) socket.resume()
      if (!server.listening) await once(server.listen(port, '127.0.0.1'), 'listening')
    }
  }
}
