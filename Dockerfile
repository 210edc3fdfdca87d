# docker build -t vqfusion . && docker run --rm -v "$PWD:/work" vqfusion denoise photo.jpg -o clean.png
FROM python:3.12-slim
COPY pyproject.toml constraints.txt LICENSE NOTICE README.md CHANGELOG.md /source/
COPY src /source/src
# torch for the CPU alone is a tenth of the one with CUDA
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
        -c /source/constraints.txt "/source[web,mcp,volume]" \
    && rm -rf /source \
    && useradd --create-home --uid 1000 vqfusion \
    && install -d -o vqfusion -g vqfusion /work
USER vqfusion
WORKDIR /work
EXPOSE 8000
ENTRYPOINT ["vqfusion"]
CMD ["--help"]
