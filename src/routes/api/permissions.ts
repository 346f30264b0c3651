/** What permissions there are, for staff to read. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { type Direction, filtersOf, ListQuery, orderingOf, searchTerms } from '../../drf/filters.ts'
import { PageOf } from '../../drf/pagination.ts'
import { view } from '../../drf/view.ts'
import { NotFound } from '../../errors.ts'
import { MAX_LABEL, nameOf } from '../../permissions/names.ts'
import { primaryKeyOf } from '../../users/user.ts'
import { Refusals, SIGNED_IN } from './groups.ts'
import type { StaffRoutesOptions } from './users.ts'

const Label = Type.String({ maxLength: MAX_LABEL })
const Shape = Type.Object({
  ...{ id: Type.Integer(), name: Type.String(), codename: Type.String() },
  content_type: Type.Object({ app_label: Type.String(), model: Type.String() }),
  permission: Type.String({ description: 'As guards call it: `app_label.codename`' })
})
const FILTERS = { app_label: Label, model: Label, codename: Label }

const ORDERED = {
  id: (id: Direction) => ({ id }),
  name: (name: Direction) => ({ name }),
  codename: (codename: Direction) => ({ codename }),
  app_label: (appLabel: Direction) => ({ contentType: { appLabel } }),
  model: (model: Direction) => ({ contentType: { model } })
}
/** Django's. */
const DEFAULT_ORDER = [ORDERED.app_label('asc'), ORDERED.model('asc'), ORDERED.codename('asc')]

const WITH_TYPE = { include: { contentType: { select: { appLabel: true, model: true } } } } as const

/** List and read permissions below `/permissions/`. */
export function permissionRoutes(app: FastifyInstance, { before, paginate }: StaffRoutesOptions): void {
  const common = { before, tags: ['permissions'], challenge: `${app.auth.settings.authHeaderTypes[0]} realm="api"` }
  view(app, '/permissions/', {
    ...{ ...common, name: 'Permission List', description: 'The permissions that there are.' },
    methods: {
      GET: {
        ...{ summary: 'List permissions', security: SIGNED_IN, query: ListQuery(FILTERS) },
        response: { 200: PageOf(Shape), ...Refusals },
        handler: (request) => paginate(request, rowsOf(request))
      }
    }
  })
  view(app, '/permissions/:id/', {
    ...{ ...common, name: 'Permission Instance', description: 'One permission.' },
    methods: {
      GET: {
        ...{ summary: 'Read a permission', security: SIGNED_IN, response: { 200: Shape, ...Refusals } },
        handler: read
      }
    }
  })
}

interface Row {
  id: number
  name: string
  codename: string
  contentType: { appLabel: string; model: string }
}

const shown = ({ id, name, codename, contentType }: Row) => ({
  ...{ id, name, codename },
  content_type: { app_label: contentType.appLabel, model: contentType.model },
  permission: nameOf({ codename, contentType })
})

function rowsOf(request: FastifyRequest) {
  const { database } = request.server.auth
  const { app_label, model, codename } = filtersOf(request, FILTERS)
  const where = {
    AND: [
      ...(codename === undefined ? [] : [{ codename }]),
      ...(app_label === undefined ? [] : [{ contentType: { appLabel: app_label } }]),
      ...(model === undefined ? [] : [{ contentType: { model } }]),
      ...searchTerms(request).map((term) => {
        const has = database.containing(term)
        return { OR: [{ codename: has }, { name: has }] }
      })
    ]
  }
  const wanted = orderingOf<object>(request, ORDERED)
  const orderBy = [...(wanted.length > 0 ? wanted : DEFAULT_ORDER), ORDERED.id('asc')]
  return {
    count: () => database.permission.count({ where }),
    find: async (range: { skip: number; take: number }) =>
      (await database.permission.findMany({ ...range, where, orderBy, ...WITH_TYPE })).map(shown)
  }
}

/** @throws {NotFound} in Django's words, which differ for what can be no id */
async function read({ params, server }: FastifyRequest): Promise<object> {
  const id = primaryKeyOf((params as { id?: string }).id)
  const row = id === null ? null : await server.auth.database.permission.findUnique({ where: { id }, ...WITH_TYPE })
  if (row !== null) return shown(row)
  throw new NotFound(id === null ? undefined : 'No Permission matches the given query.')
}
