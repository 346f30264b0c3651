/** `/permissions/`: the stored permissions, for staff to read. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { getPermission, listPermissions, type PermissionRow } from '../../admin/permission-list.ts'
import { JWT_SECURITY } from '../../authentication/jwt.ts'
import { type Direction, ListQuery, readFilters, readOrdering, readSearchTerms } from '../../drf/filters.ts'
import { PageOf, type Rows } from '../../drf/pagination.ts'
import { view } from '../../drf/view.ts'
import { NotFound } from '../../errors.ts'
import { MAX_LABEL, nameOf } from '../../permissions/names.ts'
import { primaryKeyOf } from '../../users/user.ts'
import { ERRORS, type StaffRoutesOptions } from './users.ts'

const Label = Type.String({ maxLength: MAX_LABEL })
const PermissionSchema = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  codename: Type.String(),
  content_type: Type.Object({ app_label: Type.String(), model: Type.String() }),
  permission: Type.String({ description: 'The name that guards take: `app_label.codename`' })
})
const FILTERS = { app_label: Label, model: Label, codename: Label }

const ORDERINGS = {
  id: (id: Direction) => ({ id }),
  name: (name: Direction) => ({ name }),
  codename: (codename: Direction) => ({ codename }),
  app_label: (appLabel: Direction) => ({ contentType: { appLabel } }),
  model: (model: Direction) => ({ contentType: { model } })
}

export function permissionRoutes(app: FastifyInstance, { before, paginate }: StaffRoutesOptions): void {
  const common = { before, tags: ['permissions'], challenge: app.auth.authenticators.jwt.challenge }
  view(app, '/permissions/', {
    ...common,
    name: 'Permission List',
    description: 'The stored permissions.',
    methods: {
      GET: {
        summary: 'List permissions',
        security: JWT_SECURITY,
        query: ListQuery(FILTERS),
        response: { 200: PageOf(PermissionSchema), ...ERRORS },
        handler: (request) => paginate(request, permissionRows(request))
      }
    }
  })
  view(app, '/permissions/:id/', {
    ...common,
    name: 'Permission Instance',
    description: 'One permission.',
    methods: {
      GET: {
        summary: 'Read a permission',
        security: JWT_SECURITY,
        response: { 200: PermissionSchema, ...ERRORS },
        handler: read
      }
    }
  })
}

const toJson = ({ id, name, codename, contentType }: PermissionRow) => ({
  id,
  name,
  codename,
  content_type: { app_label: contentType.appLabel, model: contentType.model },
  permission: nameOf({ codename, contentType })
})

function permissionRows(request: FastifyRequest): Rows<object> {
  const { app_label, model, codename } = readFilters(request, FILTERS)
  const order = readOrdering<object>(request, ORDERINGS)
  const query = { appLabel: app_label, model, codename, terms: readSearchTerms(request), order }
  const rows = listPermissions(request.server.auth.database, query)
  return { count: rows.count, find: async (range) => (await rows.find(range)).map(toJson) }
}

/** @throws {NotFound} in Django's words, which differ for a value that cannot be a primary key */
async function read({ params, server }: FastifyRequest): Promise<object> {
  const id = primaryKeyOf((params as { id?: string }).id)
  const row = id === null ? null : await getPermission(server.auth.database, id)
  if (row !== null) return toJson(row)
  throw new NotFound(id === null ? undefined : 'No Permission matches the given query.')
}
