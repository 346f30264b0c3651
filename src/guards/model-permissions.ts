/** DRF's DjangoModelPermissions and DjangoObjectPermissions as guards. */
import type { FastifyRequest } from 'fastify'
import { MethodNotAllowed, NotFound, PermissionDenied } from '../errors.ts'
import { AUTH_CORE } from './auth-core.ts'
import { type Guard, guard } from './guards.ts'

/** What a method asks for: actions such as `view`, or whole permissions such as `blog.publish_post`. */
export type PermissionMap = Partial<Record<string, readonly string[]>>

export interface ModelPermissionsOptions {
  /** Also callers who have not signed in may do what asks for no permission: DjangoModelPermissionsOrAnonReadOnly. */
  anonymousReads?: boolean
  /** In place of the defaults, method by method: `{ GET: ['view'] }`. */
  map?: PermissionMap
}

export interface ObjectPermissionsOptions extends ModelPermissionsOptions {
  /** True if the caller has this permission on the object that the request is about. A superuser is not asked for. */
  hasPerm: (request: FastifyRequest, permission: string) => boolean | Promise<boolean>
}

const MAP: PermissionMap = {
  ...{ GET: [], HEAD: [], OPTIONS: [] },
  ...{ POST: ['add'], PUT: ['change'], PATCH: ['change'], DELETE: ['delete'] }
}
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Who may do this kind of thing with this model.
 *
 * @param model `app_label.model`, such as `auth.group`: a POST then asks for `auth.add_group`
 */
export function modelPermissions(model: `${string}.${string}`, options: ModelPermissionsOptions = {}): Guard {
  const permissionsFor = reader(model, options.map)
  return guard(async (request) => {
    const { user, method } = request
    if (user === null) return options.anonymousReads === true && permissionsFor(method).length === 0
    return holdsAll(request, permissionsFor(method))
  })
}

/**
 * The same, and then the same of the one object that the request is about; what a caller may not even see is a 404.
 *
 * @param model as of modelPermissions
 */
export function objectPermissions(model: `${string}.${string}`, options: ObjectPermissionsOptions): Guard {
  const permissionsFor = reader(model, options.map)
  const ofModel = modelPermissions(model, options)
  return guard(async (request) => {
    if (!(await ofModel.permits(request))) return false
    const { method } = request
    if (await holdsOnObject(request, permissionsFor(method), options)) return true
    if (SAFE.has(method)) throw new NotFound()
    throw (await holdsOnObject(request, permissionsFor('GET'), options)) ? new PermissionDenied() : new NotFound()
  })
}

function reader(model: string, map: PermissionMap = {}): (method: string) => readonly string[] {
  const [appLabel, name] = model.split('.')
  // HEAD asks for what GET asks for, unless it is told otherwise.
  const merged: PermissionMap = { ...MAP, ...(map.GET && { HEAD: map.GET }), ...map }
  return (method) => {
    const actions = Object.hasOwn(merged, method) ? merged[method] : undefined
    if (actions === undefined) throw new MethodNotAllowed(method)
    return actions.map((action) => (action.includes('.') ? action : `${appLabel}.${action}_${name}`))
  }
}

async function holdsAll({ user, server }: FastifyRequest, permissions: readonly string[]): Promise<boolean> {
  for (const permission of permissions) {
    if (user === null || !(await server[AUTH_CORE].permissions.hasPerm(user, permission))) return false
  }
  return true
}

async function holdsOnObject(
  request: FastifyRequest,
  permissions: readonly string[],
  { hasPerm }: ObjectPermissionsOptions
): Promise<boolean> {
  for (const permission of permissions) {
    if (!(await isSuperuser(request)) && !(await hasPerm(request, permission))) return false
  }
  return true
}

/** An active superuser holds what nobody has ever made. */
const isSuperuser = async ({ user, server }: FastifyRequest): Promise<boolean> =>
  user !== null && server[AUTH_CORE].permissions.hasPerm(user, '.')
