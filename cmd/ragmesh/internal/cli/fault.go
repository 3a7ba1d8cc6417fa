package cli

import (
	"errors"

	"github.com/ragmesh/ragmesh/libs/fault"
)

func asFault(err error) (*fault.Error, bool) { return errors.AsType[*fault.Error](err) }
