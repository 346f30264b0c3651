/** The files whose coverage `npm run coverage` measures in each test: all of `src/` except the generated Prisma clients. */
export default () => ['src/*.ts', 'src/!(database)/**/*.ts', 'src/database/*.ts']
