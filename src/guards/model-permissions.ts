/** DRF's DjangoModelPermissions and DjangoObjectPermissions as guards. */
import type { FastifyRequest } from 'fastify'
import { SAFE_METHODS } from '../drf/safe-methods.ts'
import { MethodNotAllowed, NotFound, PermissionDenied } from '../errors.ts'
import { AUTH_CORE, authenticatedUser } from './auth-core.ts'
import { type Guard, guard } from './guards.ts'

/** The permissions that each method requires: actions such as `view`, or full names such as `blog.publish_post`. */
export type PermissionMap = Partial<Record<string, readonly string[]>>

export interface ModelPermissionsOptions {
  /** True: anonymous requests are allowed for methods that require no permission; DjangoModelPermissionsOrAnonReadOnly. */
  anonymousReads?: boolean
  /** Replaces the defaults of single methods: `{ GET: ['view'] }`. */
  map?: PermissionMap
}

export interface ObjectPermissionsOptions extends ModelPermissionsOptions {
  /** Returns whether the caller has this permission on the object of the request. Not called for superusers. */
  hasPerm: (request: FastifyRequest, permission: string) => boolean | Promise<boolean>
}

const MAP: PermissionMap = {
  GET: [],
  HEAD: [],
  OPTIONS: [],
  POST: ['add'],
  PUT: ['change'],
  PATCH: ['change'],
  DELETE: ['delete']
}

/**
 * Requires the model permission that belongs to the method of the request.
 *
 * @param model `app_label.model`, such as `auth.group`: a POST then requires `auth.add_group`
 */
export function modelPermissions(model: `${string}.${string}`, options: ModelPermissionsOptions = {}): Guard {
  const permissionsFor = reader(model, options.map)
  return guard(async (request) => {
    const { method } = request
    if (authenticatedUser(request) === null)
      return options.anonymousReads === true && permissionsFor(method).length === 0
    return hasAll(request, permissionsFor(method))
  })
}

/**
 * Requires the permission on the model and on the object of the request. An object that the caller may not view is a 404.
 *
 * @param model as of modelPermissions
 */
export function objectPermissions(model: `${string}.${string}`, options: ObjectPermissionsOptions): Guard {
  const permissionsFor = reader(model, options.map)
  const ofModel = modelPermissions(model, options)
  return guard(async (request) => {
    if ((await ofModel.permits(request)) !== true) return false
    const { method } = request
    if (await hasOnObject(request, permissionsFor(method), options)) return true
    if (SAFE_METHODS.has(method)) throw new NotFound()
    throw (await hasOnObject(request, permissionsFor('GET'), options)) ? new PermissionDenied() : new NotFound()
  })
}

function reader(model: string, map: PermissionMap = {}): (method: string) => readonly string[] {
  const [appLabel, name] = model.split('.')
  // HEAD requires the same as GET, unless the map has HEAD.
  const merged: PermissionMap = { ...MAP, ...(map.GET && { HEAD: map.GET }), ...map }
  return (method) => {
    const actions = Object.hasOwn(merged, method) ? merged[method] : undefined
    if (actions === undefined) throw new MethodNotAllowed(method)
    return actions.map((action) => (action.includes('.') ? action : `${appLabel}.${action}_${name}`))
  }
}

async function hasAll(request: FastifyRequest, permissions: readonly string[]): Promise<boolean> {
  const user = authenticatedUser(request)
  for (const permission of permissions) {
    if (user === null || !(await request.server[AUTH_CORE].permissions.hasPerm(user, permission))) return false
  }
  return true
}

async function hasOnObject(
  request: FastifyRequest,
  permissions: readonly string[],
  { hasPerm }: ObjectPermissionsOptions
): Promise<boolean> {
  for (const permission of permissions) {
    if (!(await isSuperuser(request)) && (await hasPerm(request, permission)) !== true) return false
  }
  return true
}

/** An active superuser has every permission, also one that does not exist. */
async function isSuperuser(request: FastifyRequest): Promise<boolean> {
  const user = authenticatedUser(request)
  return user !== null && request.server[AUTH_CORE].permissions.hasPerm(user, '.')
}
