//go:build !race

package ownership

const defaultSeeds = 3000
