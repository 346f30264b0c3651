/** All columns of a user, because Django's tables have no defaults. */
export const newUser = (username: string) => ({
  username,
  password: '!',
  email: '',
  firstName: '',
  lastName: '',
  isStaff: false,
  isSuperuser: false,
  isActive: true,
  dateJoined: new Date(),
  lastLogin: null
})
