/** Every column of a user, since the database gives none by itself. */
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
