/** Hashers, stored hashes and a recorder of computations for tests of password hashes. */
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import argon2 from '@node-rs/argon2'
import bcrypt from 'bcrypt'
import type { Test } from 'tap'
import { createHashers } from '../../src/passwords/hashers.ts'
import { HASHERS, type HasherName } from '../../src/settings/schema.ts'
import vectors from './hasher-vectors.json' with { type: 'json' }

export const INCORRECT = { correct: false, outdated: false }
export const CORRECT = { correct: true, outdated: false }
export const OUTDATED = { correct: true, outdated: true }

/** Creates hashers that prefer the first algorithm and accept the others. */
export const hashersOf = (names: readonly HasherName[], bcryptRounds = 4) =>
  createHashers({ passwordHashers: [...names], bcryptRounds })

/** Creates hashers with all algorithms, one of them preferred. */
export const preferring = (name: HasherName, bcryptRounds?: number) =>
  hashersOf([name, ...HASHERS.filter((other) => other !== name)], bcryptRounds)

export const vectorOf = (algorithm: string, password = 'correct horse battery staple') =>
  vectors.hashers.find((vector) => vector.algorithm === algorithm && vector.password === password)?.encoded as string

/** Changes the hash in a stored password, as if it were of another password. */
export const withOtherHash = (encoded: string) => encoded.slice(0, -1) + (encoded.endsWith('0') ? '1' : '0')

export const bcryptText = (rounds: string) => `bcrypt_sha256$$2b$${rounds}$${'.'.repeat(53)}`
export const scryptText = (n: number, r: number, p: number) => `scrypt$${n}$abcdefghijklmnopqrstuv$${r}$${p}$AAAA`
export const argon2Text = (costs: string, salt = 'c29tZXNhbHQ', hash = 'A'.repeat(43)) =>
  `argon2$argon2id$v=19$${costs}$${salt}$${hash}`
export const pbkdf2Text = (iterations: string, salt = 'abcdefghijklmnopqrstuv') =>
  `pbkdf2_sha256$${iterations}$${salt}$AAAA`

export interface Work {
  by: 'argon2' | 'bcrypt' | 'pbkdf2' | 'scrypt'
  /** Rounds, iterations, N·r·p or KiB·passes. */
  cost: number
}

/** Replaces the slow functions by fast ones that record their costs and return zeros as hash. */
export function recordWork(t: Test): Work[] {
  const work: Work[] = []
  type Callback = (error: null, hash: Buffer) => void
  const answer = (entry: Work, size: number, callback: Callback) => {
    work.push(entry)
    setImmediate(callback, null, Buffer.alloc(size))
  }
  t.teardown(syncBuiltinESMExports)
  t.intercept(crypto, 'pbkdf2', {
    value: (_password: string, _salt: string, cost: number, size: number, _digest: string, callback: Callback) =>
      answer({ by: 'pbkdf2', cost }, size, callback)
  })
  t.intercept(crypto, 'scrypt', {
    value: (_password: string, _salt: string, size: number, { N, r, p }: Record<string, number>, callback: Callback) =>
      answer({ by: 'scrypt', cost: Number(N) * Number(r) * Number(p) }, size, callback)
  })
  t.intercept(bcrypt, 'hash', {
    value: async (_password: string, salt: string) => {
      work.push({ by: 'bcrypt', cost: Number(salt.slice(4, 6)) })
      return salt + '.'.repeat(31)
    }
  })
  t.intercept(argon2, 'hashRaw', {
    value: async (_password: string, { memoryCost, timeCost, outputLen }: Record<string, number>) => {
      work.push({ by: 'argon2', cost: Number(memoryCost) * Number(timeCost) })
      return Buffer.alloc(Number(outputLen))
    }
  })
  syncBuiltinESMExports()
  return work
}
