PY := .venv/bin/python

.PHONY: demo test test-long bench docs predictions lint clean

demo: .venv/.installed
	.venv/bin/accelsim run --mapping fusemax__attention_1pass --model bert --seq-len 16384 \
	  --timeline out/timeline.json

test: .venv/.installed-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile

test-long: .venv/.installed-dev  ## minutes: what the short suite leaves out
	$(PY) -m pytest -m long

bench: .venv/.installed-dev
	$(PY) -m pytest benchmarks --benchmark-only

docs: .venv/.installed  ## what is generated: the table of all cascades, the schemas
	.venv/bin/accelsim list cascades --markdown > docs/cascades.md.part
	mv docs/cascades.md.part docs/cascades.md
	.venv/bin/accelsim schema --all schemas

predictions: .venv/.installed-dev  ## minutes: what a GPU run is to be held against
	$(PY) -m accelsim.validate.predictions h200 > kernels/predictions/h200.csv.part
	mv kernels/predictions/h200.csv.part kernels/predictions/h200.csv
	$(PY) -m accelsim.validate.predict_times h200 > kernels/predictions/times_h200.csv.part
	mv kernels/predictions/times_h200.csv.part kernels/predictions/times_h200.csv
	$(PY) -m kernels.records --seal

clean:
	rm -rf .venv out

.venv/bin/python:
	python3 -m venv .venv

.venv/.installed: pyproject.toml | .venv/bin/python
	$(PY) -m pip install --quiet --disable-pip-version-check -e .
	touch $@

.venv/.installed-dev: pyproject.toml tests/constraints.txt | .venv/bin/python
	$(PY) -m pip install --quiet --disable-pip-version-check -c tests/constraints.txt -e '.[dev]'
	touch $@ .venv/.installed
