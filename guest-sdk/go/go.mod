module gnomon

go 1.24
